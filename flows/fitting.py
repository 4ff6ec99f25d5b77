"""Which workers can do a play of a run, by what they declared."""

from __future__ import annotations

from collections.abc import Sequence

from quantplay.errors import Fault, InputError
from quantplay.plan import Plan
from quantplay.plays.fit import described, misfit
from quantplay.records import Hardware
from quantplay.store.workers import Worker
from tasks.workbench import workbench


def require_worker(plan: Plan, measured: Hardware | None, pool: str) -> None:
    """Raise InputError where workers of `pool` are alive and none of them can do it.

    With no living worker at all nothing is known about what will come: the job waits in its queue, as Prefect shows.
    """
    living = workbench().store.list_workers(pool)
    reasons = [misfit(plan, worker.hardware, measured) for worker in living]
    if living and None not in reasons:
        raise no_worker_fits(plan, measured, living, str(reasons[0]))


def workers_that_fit(plan: Plan, measured: Hardware | None, pool: str | None) -> tuple[Worker, ...]:
    """Living workers of `pool` that can do it."""
    living = workbench().store.list_workers(pool)
    return tuple(worker for worker in living if misfit(plan, worker.hardware, measured) is None)


def no_worker_fits(plan: Plan, measured: Hardware | None, living: Sequence[Worker], why: str) -> InputError:
    """One error that lists what the workers have."""
    faults = [
        Fault(
            where=f"worker {worker.name} of pool {worker.pool}",
            what=misfit(plan, worker.hardware, measured) or "could do it",
            value=described(worker.hardware),
        )
        for worker in living
    ]
    return InputError(
        "no worker has the hardware this run asks for", value=why, faults=faults,
        fix="start a worker on a machine that has it (`quantplay worker --pool gpu`), or change envelope.target_chip of the "
        "plan, or accept another chip with a deviation: {rule: envelope.target_chip, reason: ...}",
    )  # fmt: skip
