"""A flow run that is resumed as soon as it suspended comes back while its old process is still ending.

Prefect 3.8.8's worker then raises RuntimeError ("this borrower is already holding one of this CapacityLimiter's tokens") and ends, and
with it every run it has. Here such a run waits for the worker's next look at the pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.workers.process import ProcessWorker


def wait_for_the_old_process(worker: ProcessWorker) -> None:
    """Make `worker` leave alone what it still has a process for."""
    submit = worker._submit_scheduled_flow_runs

    async def submit_the_others(flow_run_response: list[Any]) -> Any:
        here = worker.limiter.statistics().borrowers
        return await submit([entry for entry in flow_run_response if entry.flow_run.id not in here])

    worker._submit_scheduled_flow_runs = submit_the_others  # type: ignore[method-assign]
