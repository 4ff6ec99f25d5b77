"""`quantplay init FOLDER`: a commented plan to start from, or the pilot's plan with its data, to replace piece by piece."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from quantplay.errors import InputError

TEMPLATE = Path(__file__).parent / "templates" / "plan.yaml"
PILOT_PARTS = ("model", "calibration/traffic.jsonl", "traffic/sample.jsonl", "evaluation", "heldout")
HEAD = """\
# Begun from quantplay's pilot: everything here runs as it is. Make it yours piece by piece, and run `quantplay check` after each:
#   model/, then calibration/ and traffic/ (what your model is really asked), evaluation/ (your own tasks) with the slices below,
#   the envelope (where it will serve), the tolerances, the owners. `quantplay init` without --from-pilot explains every key.
# profile: internal is for low stakes; with production people sign, see docs/sign-offs.md.
"""


def command(folder: Path, from_pilot: bool = False) -> int:
    path = folder / "plan.yaml"
    try:
        if from_pilot:
            copy_pilot(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:  # "x": refuses what is there, also when two do this at once
                text = TEMPLATE.read_text(encoding="utf-8")
                file.write(text.replace("name: my-model  ", f"{f'name: {plain(folder.absolute().name)}':<14}  ", 1))
    except FileExistsError as error:
        taken = path if path.exists() else folder
        raise InputError(
            "this is there already and is not overwritten", value=taken, fix="name another folder, or move it away"
        ) from error
    except OSError as error:
        raise InputError("the plan can't be written", value=f"{path}: {error.strerror}") from error
    what = "" if from_pilot else "fill it in, then "
    print(f"wrote {path}\nnext: {what}`quantplay check {path}`")
    return 0


def copy_pilot(folder: Path) -> None:
    """The pilot's plan and what it names as `folder`, whole or not at all. Raises FileExistsError, OSError, InputError."""
    from quantplay.cli.pilot import find_plan

    source, folder = find_plan("pass"), folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        partial.chmod(0o755)
        for name in PILOT_PARTS:
            part, target = source.parent / name, partial / name
            target.parent.mkdir(exist_ok=True)
            if part.is_dir():
                shutil.copytree(part, target, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(part, target)
        text = re.sub(r"\A(#.*\n)+", HEAD, source.read_text(encoding="utf-8"))
        text = text.replace("name: pilot-pass", f"name: {plain(folder.name)}", 1)
        text = text.replace("profile: production", "profile: internal", 1)
        (partial / "plan.yaml").write_text(text, encoding="utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def plain(name: str) -> str:
    """`name` as a plan may be called."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:63] or "my-model"
