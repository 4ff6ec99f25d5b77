"""Run the playbook on one machine with nothing to install beside the project: services up, flow inline, outcome out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flows.services import ensure_server, prefect_environment
from quantplay.settings import settings


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """How a local run ended."""

    run: str  # id in the product database
    page: str  # address of the flow run in the Prefect UI


def run_plan(
    plan_path: Path, say: Callable[[str], None], listener: object | None = None, run: str | None = None
) -> LocalRun:
    """Run `plan_path` inline against the local (or named) Prefect server and the product database.

    `run`: id of a run of this plan that waits for a signature and goes on. Raises quantplay's own errors as they are. `listener` follows tasks.progress.Listener.
    """
    here = settings()
    os.environ.update({key: os.environ.get(key, value) for key, value in prefect_environment(here).items()})
    server = ensure_server(here, say)
    from flows.quantize import quantize  # only now: Prefect reads its settings when it is imported
    from tasks.progress import listen

    stop_listening = listen(listener) if listener is not None else lambda: None  # type: ignore[arg-type]
    try:
        state = quantize(str(plan_path.absolute()), run, return_state=True)
    finally:
        stop_listening()
    run_id = cast("str", state.result())  # raises the run's own error where it failed
    flow_run = state.state_details.flow_run_id
    return LocalRun(run=run_id, page=f"{server.page}/runs/flow-run/{flow_run}")
