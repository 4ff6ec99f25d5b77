"""How long the command line keeps people waiting: `--help`, `check`, and a run in which every play is already done.

`python -m benchmarks.startup [--quick]`; the run is the pilot's, with `--quick` over a few of its items.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.playground import PILOT, Playground, make_playground
from benchmarks.report import at_most, finish, print_table, quick_asked

REPEATS = 7


def seconds(here: Playground, *arguments: str) -> float:
    started = time.perf_counter()
    done = here.quantplay(*arguments)
    if done.returncode != 0:
        sys.exit(f"quantplay {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started


def main() -> int:
    top = Path(tempfile.mkdtemp(prefix="quantplay-startup-"))
    top.chmod(0o755)
    try:
        here = make_playground(top)
        plan = here.plan("passes") if quick_asked() else PILOT / "plan-pass.yaml"
        repeats = 3 if quick_asked() else REPEATS
        helping = [seconds(here, "--help") for _ in range(repeats + 1)][1:]
        checking = [seconds(here, "check", str(PILOT / "plan-pass.yaml")) for _ in range(repeats)]
        first = seconds(here, "run", str(plan))
        again = [seconds(here, "run", str(plan)) for _ in range(3)]
        here.quantplay("down")
    finally:
        shutil.rmtree(top, ignore_errors=True)
    rows = [
        ("--help", median(helping), min(helping), max(helping)),
        ("check", median(checking), min(checking), max(checking)),
        ("first run", first, first, first),
        ("run with nothing left to do", median(again), min(again), max(again)),
    ]
    print_table(("command", "median s", "min s", "max s"), rows)
    figures = {name: round(value, 3) for name, value, _, _ in rows}
    goals = {
        "--help": at_most(median(helping), 0.3, "s"),
        "check": at_most(median(checking), 5, "s"),
        "warm re-run": at_most(median(again), 15, "s"),
    }
    return finish("startup", figures, {} if quick_asked() else goals)


if __name__ == "__main__":
    sys.exit(main())
