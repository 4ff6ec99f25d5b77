"""One run through the whole platform, for try_commands.py: the pilot's model over a few items, started as its deployment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.playground import make_playground

LONGEST_SECONDS = 1000


def main() -> int:
    from prefect.deployments import run_deployment

    top = Path(os.environ["QUANTPLAY_HOME"]) / "try"
    top.mkdir()
    plan = make_playground(top).plan("compose", envelope__batch=2)
    run = run_deployment("quantize/plan", parameters={"plan": str(plan)}, timeout=LONGEST_SECONDS, as_subflow=False)
    print(f"flow run {run.id}: {run.state.name if run.state else 'no state'}")
    return 0 if run.state is not None and run.state.name == "Locked" else 1


if __name__ == "__main__":
    sys.exit(main())
