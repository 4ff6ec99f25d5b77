"""One job of the platform as whoever sent it sees it: found or sent, then waited for over restarts of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run

from flows.cancelling import cancel_job
from flows.pools import QUEUES
from quantplay.errors import InputError, ServiceUnavailable
from tasks.runs import is_cancelled

T = TypeVar("T")
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 300.0  # for a Prefect server that goes away while jobs run
FIRST_QUEUE = "interactive"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A flow run of a job's deployment."""

    id: UUID
    state: str  # Prefect's type of state: scheduled, pending, running, completed, failed, crashed, cancelled ...
    message: str
    ended: bool


def find_or_send(deployment: str, parameters: Mapping[str, Any], key: str, queue: str | None = None) -> Job:
    """The job sent before under `key`, or a new one in `queue`, by default the one that the sender came from."""
    before = patiently(lambda: sent_before(key))
    if before is not None:
        return before
    queue = queue or patiently(queue_of_sender)

    def sent() -> FlowRun:
        try:
            made = run_deployment(
                deployment, parameters=dict(parameters), idempotency_key=key, work_queue_name=queue, timeout=0
            )
        except ObjectNotFound as error:
            raise InputError(
                "the Prefect server has no such deployment, so no worker can be sent this job", value=deployment,
                fix="`quantplay up` makes it (with `--no-workers` where workers run elsewhere); then run the plan again",
            ) from error  # fmt: skip
        return cast("FlowRun", made)  # flows are synchronous here

    return job_of(patiently(sent))


def sent_before(key: str) -> Job | None:
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        found = client.read_flow_runs(flow_run_filter=wanted)
    return job_of(found[0]) if found else None


def queue_of_sender() -> str:
    """A job is as urgent as the run that needs it; a run that came from no queue has a person waiting for it."""
    identity = flow_run.get_id()
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(UUID(identity)).work_queue_name if identity else None
    return name if name in QUEUES else FIRST_QUEUE


def await_job(job: Job) -> Job:
    """The job when it has ended. Where the sender is cancelled meanwhile, so is the job."""
    identity = job.id
    try:
        while not job.ended:
            time.sleep(POLL_SECONDS)
            job = patiently(lambda: read_job(identity))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or is_cancelled():
            cancel_job(identity)
        raise
    return job


def read_job(identity: UUID) -> Job:
    with get_client(sync_client=True) as client:
        return job_of(client.read_flow_run(identity))


def job_of(run: FlowRun) -> Job:
    assert run.state is not None
    return Job(
        id=run.id, state=run.state.type.value.lower(), message=run.state.message or "", ended=run.state.is_final()
    )


def patiently(call: Callable[[], T]) -> T:
    """Call again while the Prefect server is away. Raises ServiceUnavailable where it stays away."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            if isinstance(error, PrefectHTTPStatusError) and error.response.status_code < 500:
                raise
            if time.monotonic() >= deadline:
                raise ServiceUnavailable(
                    "the Prefect server went away while this run waited for a job", value=error,
                    fix="start it again; `quantplay run` goes on where this stopped",
                ) from error  # fmt: skip
        time.sleep(POLL_SECONDS)
