"""Suspended flow runs from outside: look for one, resume it, end it, or start the run anew. Prefect is imported when needed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from flows.services import BUSY_SECONDS, healthy, prefect_environment, running_server
from quantplay.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from quantplay.store.requests import Request

DEPLOYMENT = "quantize/plan"  # the run is started anew as this deployment
SETTLING_SECONDS = 30.0  # a run that is just about to suspend has not seen the latest signature
EXPIRED = "Expired"  # name of the state in which an unanswered flow run ends; its run can be asked again
How = Literal["resumed", "going", "started", "no deployment", "no server"]


@dataclass(frozen=True, kw_only=True)
class GoesOn:
    """How a run with all its signatures goes on."""

    how: How
    page: str | None = None  # of the flow run


def use_server(settings: Settings) -> str | None:
    """Point this process at the Prefect server that is up; None where none is. Call before Prefect is imported."""
    named = settings.prefect_api_url
    found = (named if healthy(named, BUSY_SECONDS) else None) if named else running_server(settings.home / "prefect")
    if found is not None and not named:
        os.environ.update(prefect_environment(settings))
        os.environ["PREFECT_API_URL"] = found
    return found


@contextmanager
def client_of_server() -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


def state_of(client: SyncPrefectClient, flow_run: str) -> Any:
    """The state of a flow run; None where the server does not know it."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_flow_run(UUID(flow_run)).state
    except ObjectNotFound:
        return None


def go_on(settings: Settings, request: Request, plan_path: str) -> GoesOn:
    """Resume the flow run that asked; where that has ended, start the run anew as a flow run of its own."""
    if use_server(settings) is None:
        return GoesOn(how="no server", page=request.page)
    with client_of_server() as client:
        deadline = time.monotonic() + SETTLING_SECONDS
        while True:
            state = state_of(client, request.flow_run)
            if state is not None and state.is_paused() and resumed(client, request.flow_run):
                return GoesOn(how="resumed", page=request.page)
            if state is None or state.is_final():
                return started_anew(client, request, plan_path)
            if time.monotonic() > deadline:
                return GoesOn(how="going", page=request.page)
            time.sleep(0.5)


def resumed(client: SyncPrefectClient, flow_run: str) -> bool:
    """Resume with an empty form. Prefect answers 200 also where it refuses, so the body says whether it did."""
    from prefect.client.schemas.responses import SetStateStatus

    return client.resume_flow_run(UUID(flow_run), run_input={}).status == SetStateStatus.ACCEPT


def started_anew(client: SyncPrefectClient, request: Request, plan_path: str) -> GoesOn:
    """A new flow run for the same run. Two people who sign at once start one."""
    from prefect.exceptions import ObjectNotFound

    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        return GoesOn(how="no deployment")
    number = 0
    while True:
        made = client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"plan": plan_path, "run": request.run},
            idempotency_key=f"{request.run} after {request.flow_run} {request.key} {number}",
        )
        if made.state is None or not made.state.is_final():
            break
        number += 1  # that one ended before it could ask again
    page = request.page.replace(request.flow_run, str(made.id)) if request.page else None
    return GoesOn(how="started", page=page)


def end_expired(client: SyncPrefectClient, flow_run: str, message: str) -> bool:
    """End a suspended flow run that nobody answered, as cancelled; True where it was suspended."""
    from prefect.states import Cancelled

    state = state_of(client, flow_run)
    if state is None or not state.is_paused():
        return False
    client.set_flow_run_state(UUID(flow_run), Cancelled(name=EXPIRED, message=message))
    return True
