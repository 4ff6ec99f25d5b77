"""`quantplay init FOLDER`: a commented plan to start from."""

from __future__ import annotations

from pathlib import Path

from quantplay.errors import InputError

TEMPLATE = Path(__file__).parent / "templates" / "plan.yaml"


def command(folder: Path) -> int:
    path = folder / "plan.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # "x": refuses what is there, also when two do this at once
            file.write(TEMPLATE.read_text(encoding="utf-8"))
    except FileExistsError as error:
        taken = path if path.exists() else folder
        raise InputError(
            "this is there already and is not overwritten", value=taken, fix="name another folder, or move it away"
        ) from error
    except OSError as error:
        raise InputError("the plan can't be written", value=f"{path}: {error.strerror}") from error
    print(f"wrote {path}\nnext: fill it in, then `quantplay check {path}`")
    return 0
