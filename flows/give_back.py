"""A job that came to the wrong machine gives itself back, so that another worker can pull it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.states import Scheduled

from flows.fitting import no_worker_fits, workers_that_fit
from quantplay.plays.fit import misfit
from quantplay.records import Digest, Hardware
from tasks.workbench import RunRef, workbench

STATE = "GivenBack"
AGAIN_SECONDS = 15.0


def require_fit(run: RunRef, baseline: Digest | None) -> None:
    """Return where this machine may do a play of `run`; else the job goes back to its queue, or fails where that did not help.

    `baseline`: key of the run's baseline, None before there is one. Raises InputError where no living worker has had what the
    job asks for in the whole time the settings allow.
    """
    bench, plan = workbench(), run.read()
    measured = hardware_of(baseline)
    why = misfit(plan, bench.fingerprint.hardware, measured)
    if why is None:
        return
    identity = flow_run.get_id()
    if identity is None:  # called by hand, outside Prefect: there is no queue to give it back to
        raise no_worker_fits(plan, measured, (), why)
    with get_client(sync_client=True) as client:
        since = first_given_back(client, UUID(identity))
        pool = pool_of(client, UUID(identity))
        fitting = workers_that_fit(plan, measured, pool)
        patience = timedelta(seconds=bench.settings.give_back_seconds)
        if not fitting and since is not None and datetime.now(UTC) - since > patience:
            raise no_worker_fits(plan, measured, bench.store.list_workers(pool), why)
        give_back(client, UUID(identity), why)


def hardware_of(baseline: Digest | None) -> Hardware | None:
    """What a run's baseline was measured on."""
    record = workbench().store.get_baseline(baseline) if baseline is not None else None
    return record.fingerprint.hardware if record is not None else None


def pool_of(client: SyncPrefectClient, identity: UUID) -> str | None:
    return client.read_flow_run(identity).work_pool_name


def first_given_back(client: SyncPrefectClient, identity: UUID) -> datetime | None:
    """When this job went back to its queue for the first time."""
    moments = [state.timestamp for state in client.read_flow_run_states(identity) if state.name == STATE]
    return min(moments, default=None)


def give_back(client: SyncPrefectClient, identity: UUID, why: str) -> NoReturn:
    """Back to the queue, and out of this process without a result. A job that is being cancelled is left to its worker."""
    state = client.read_flow_run(identity).state
    if state is not None and state.is_cancelling():
        raise Abort(f"cancelled, and {why}")
    again = datetime.now(UTC) + timedelta(seconds=AGAIN_SECONDS)
    message = f"given back by a worker that can't do it: {why}"
    client.set_flow_run_state(identity, Scheduled(scheduled_time=again, name=STATE, message=message), force=True)
    raise Abort(message)
