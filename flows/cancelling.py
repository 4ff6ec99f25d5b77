"""A cancelled run takes its jobs along at once, and a cancelled job its run."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.exceptions import Abort, PrefectException
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Cancelling

KILL_SECONDS = 60.0  # a worker needs a few to end the process of a cancelled run


def cancel_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect's hook for a run that is being cancelled: every job it sent and that has not ended."""
    living = [one for one in StateType if one not in TERMINAL_STATES]
    wanted = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=living)),
    )
    with get_client(sync_client=True) as client:
        for job in client.read_flow_runs(flow_run_filter=wanted):
            cancel(client, job)


def cancel_job(identity: UUID) -> None:
    """Cancel one job, as far as the server answers."""
    try:
        with get_client(sync_client=True) as client:
            cancel(client, client.read_flow_run(identity))
    except (httpx.HTTPError, PrefectException):
        return  # the hook tries again


def cancel(client: SyncPrefectClient, job: FlowRun) -> None:
    """A job that runs is ended by its worker; one that waits in its queue, perhaps given back, has nothing to end."""
    message = "the run that sent this job was cancelled"
    waits = job.state is not None and job.state.is_scheduled()
    client.set_flow_run_state(job.id, Cancelled(message=message) if waits else Cancelling(message=message), force=waits)


def leave_if_unwanted() -> None:
    """End this job where whoever sent it was cancelled before it began, with nobody left to cancel it. Raises Abort then."""
    identity, sender = this_run.get_id(), this_run.get_parent_flow_run_id()
    if identity is None or sender is None:
        return
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(sender)).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            message = "the run that sent this job was cancelled"
            client.set_flow_run_state(UUID(identity), Cancelled(message=message), force=True)
            raise Abort(message)


def cancel_this_run() -> None:
    """Have this deployed flow run cancelled, and wait for its worker to end this process. Returns at once in a local run."""
    identity = this_run.get_id()
    if identity is None:
        return
    with get_client(sync_client=True) as client:
        if client.read_flow_run(UUID(identity)).deployment_id is None:
            return
        client.set_flow_run_state(UUID(identity), Cancelling(message="a job of this run was cancelled"))
    time.sleep(KILL_SECONDS)
