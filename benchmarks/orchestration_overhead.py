"""What Prefect, the product database and the report add to the plays: wall time of a run less the time inside its plays.

`python -m benchmarks.orchestration_overhead [--quick]`. The services are up before the clock starts. The plays' own time is what
the same functions take when they are called plainly: they run in child processes that know neither Prefect nor the database.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.playground import PILOT, make_playground
from benchmarks.report import at_most, finish, print_table, quick_asked


def main() -> int:
    top = Path(tempfile.mkdtemp(prefix="quantplay-overhead-"))
    top.chmod(0o755)
    try:
        here = make_playground(top)
        here.run(here.plan("services-up", envelope__max_artifact_mib=0.5))  # stops after play 2; starts both servers
        started = time.perf_counter()
        plan = here.plan("passes") if quick_asked() else PILOT / "plan-pass.yaml"
        code, run = here.run(plan)
        wall = time.perf_counter() - started
        here.quantplay("down")
    finally:
        shutil.rmtree(top, ignore_errors=True)
    if code != 0:
        sys.exit(f"the run ended with {run['outcome']}")
    plays = {play["play"]: play["seconds"] for play in run["plays"]}
    inside = sum(plays.values())
    share = 100 * (wall - inside) / wall
    print_table(("part", "seconds"), [*plays.items(), ("outside the plays", wall - inside), ("the whole run", wall)])
    figures = {"plays_s": round(inside, 2), "wall_s": round(wall, 2), "overhead_percent": round(share, 2)}
    return finish(
        "orchestration_overhead", figures, {} if quick_asked() else {"overhead": at_most(share, 5, "% of a pilot run")}
    )


if __name__ == "__main__":
    sys.exit(main())
