"""Makes `.venv` what requirements.lock says, or finds at once that it is. `make setup` runs this; run it yourself any time.

- The stamp is written last. An install that was interrupted left a mark and is done again from nothing.
- Two set-ups of one checkout wait for each other.
- Standard library only, and started by the system's Python (see python.sh).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

from commands import SetupError, elapsed, run_logged, say
from llama_wheel import ensure_wheel, key_of, made_of, only_one

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "quantplay-setup.json"
UNFINISHED = VENV / "quantplay-setup-unfinished"
LOG = VENV / "quantplay-setup.log"
LOCK = ROOT / "requirements.lock"
PIP = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input")
EXIT_FAILED = 3  # the outcome table's code for a missing dependency or service


def wanted() -> dict[str, str]:
    """What the stamp must say for the environment to be used as it is."""
    project = hashlib.sha256()
    for name in ("pyproject.toml", "quantplay/__init__.py"):
        project.update((ROOT / name).read_bytes())
    for package in sorted(ROOT.glob("*/__init__.py")):  # an install in place knows the top-level packages of its day
        project.update(package.parent.name.encode())
    return {
        "checkout": str(ROOT),  # the project is installed in place: a moved checkout needs a new environment
        "lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        "project": project.hexdigest(),
        "llama_cpp_python": key_of(made_of()),
    }


def noted() -> dict[str, str]:
    """What the stamp says; empty where there is none, it is damaged, or the environment's Python is gone."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and PYTHON.exists() else {}


def cache_folder() -> Path:
    """Where the project keeps what can be made again; the converter looks for the same sources there."""
    sys.path.insert(0, str(ROOT))
    from quantplay.errors import InputError
    from quantplay.settings import read_settings

    try:
        return read_settings().cache
    except InputError as error:
        raise SetupError("; ".join(line.strip() for line in str(error).splitlines())) from None


def pins() -> int:
    """How many packages the lock names."""
    return sum(1 for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line and not line.startswith("#"))


def make_environment() -> None:
    """An empty environment with pip in `.venv`, unless a whole one is there."""
    moved = noted().get("checkout", str(ROOT)) != str(ROOT)
    if VENV.exists() and (UNFINISHED.exists() or moved or not PYTHON.exists()):
        say("      .venv is " + ("from another place" if moved else "unfinished") + ": making it anew")
        shutil.rmtree(VENV)
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    if not PYTHON.exists() or not list(VENV.glob("lib/python*/site-packages/pip")):
        try:
            run_logged(
                [sys.executable, "-m", "venv", VENV],
                what=f"Making a virtual environment with {sys.executable}",
                log=LOG,
                progress=lambda line: None,
            )
        except SetupError as error:
            raise SetupError(f"{error} Debian packs the venv module apart: apt-get install python3-venv") from None


def install(wheel: Path, *, again: bool) -> None:
    """Everything in the lock, then the project itself in place. `again`: the llama.cpp wheel there is of another make."""
    total, seen, warned = pins(), 0, False

    def progress(line: str) -> str | None:
        nonlocal seen, warned
        if line.startswith("Collecting nvidia-") and not warned:
            warned = True
            say(
                "      pip found a CUDA build of torch: several GB. To do without, see infra/setup/README.md on pip's indexes"
            )
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            seen += 1
            return f"collecting {min(seen, total)} of {total} packages"
        return "unpacking them, which takes minutes" if line.startswith("Installing collected packages") else None

    run_logged(
        [*PIP, "install", "--progress-bar", "off", "--find-links", wheel.parent.as_uri(), "--requirement", LOCK],
        what="Installing requirements.lock",
        log=LOG,
        progress=progress,
    )
    if again:
        run_logged(
            [*PIP, "install", "--force-reinstall", "--no-deps", "--no-index", wheel],
            what="Installing the llama-cpp-python wheel",
            log=LOG,
            progress=lambda line: "the llama-cpp-python wheel",
        )
    run_logged(
        [*PIP, "install", "--progress-bar", "off", "--no-deps", "--editable", ROOT],
        what="Installing quantplay itself",
        log=LOG,
        progress=lambda line: "quantplay itself",
    )


def check() -> None:
    """No package lacks another, and the compiled library loads on this CPU."""
    run_logged([*PIP, "check"], what="Checking the environment (pip check)", log=LOG, progress=lambda line: "pip check")
    run_logged(
        [PYTHON, "-c", "import llama_cpp; llama_cpp.llama_backend_init()"],
        what="Loading llama-cpp-python's library",
        log=LOG,
        progress=lambda line: None,
    )


def ready() -> bool:
    return not UNFINISHED.exists() and noted() == wanted()


def set_up() -> None:
    if ready():
        return
    with only_one(ROOT / ".cache" / "setup.lock", "another set-up of this checkout is running; waiting for it"):
        if ready():
            return
        started = time.monotonic()
        goal, before = wanted(), noted()
        say(f"quantplay set-up: {pins()} packages into .venv, Python {sys.version.split()[0]}. Details: {LOG}")
        say("[1/4] environment")
        make_environment()
        say("[2/4] llama.cpp")
        wheel = ensure_wheel(cache_folder(), PYTHON, LOG)
        say("[3/4] packages")
        install(wheel, again=before.get("llama_cpp_python") != goal["llama_cpp_python"] and STAMP.exists())
        say("[4/4] check")
        check()
        temporary = STAMP.with_suffix(".new")
        temporary.write_text(json.dumps(goal, indent=1) + "\n", encoding="utf-8")
        temporary.replace(STAMP)
        UNFINISHED.unlink()
        say(f"quantplay set-up: ready after {elapsed(time.monotonic() - started)}")
        say("next: `. .venv/bin/activate`, then `quantplay doctor`, then docs/tutorial.md")


def main() -> int:
    try:
        set_up()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return EXIT_FAILED
    except PermissionError as error:
        print(
            f"set-up: may not write {error.filename}. Become its owner, or keep things elsewhere: "
            "QUANTPLAY_CACHE names the cache folder (docs/settings.md).",
            file=sys.stderr,
        )
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("set-up: interrupted; run make again to start over", file=sys.stderr)
        return 130
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
