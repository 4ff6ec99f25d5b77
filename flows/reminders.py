"""Requests for signatures that nobody answers: reminded of daily, then ended in a state from which they can be asked again.

Prefect's own timeout of a pause is never used: it ends a run as FAILED, and such a run can't be resumed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import httpx
from prefect import flow, get_client, get_run_logger
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.events import emit_event
from prefect.exceptions import PrefectException

from flows.suspended import end_expired, resumed, started_anew, state_of
from quantplay.errors import QuantplayError
from quantplay.handoff.signing import standing_of, stands_now
from quantplay.signoff import Standing
from quantplay.store.requests import EXPIRED, REMINDED, Waiting
from tasks.signoffs import owners_of_settings
from tasks.workbench import workbench

REMINDER = "quantplay.sign-off.reminder"
OVERDUE = "quantplay.sign-off.expired"
"""Names of the Prefect events that an automation can send on, by mail or chat."""
EVERY = timedelta(days=1)


@flow(
    name="sign-off-reminders",
    description="Remind of missing signatures, a day after they were asked for and then daily; end requests that nobody answered.",
    persist_result=False,
)
def sign_off_reminders() -> str:
    """Look at every run that waits for signatures. Safe to run at any time, and twice at once."""
    with workbench().store.run_lock("sign-off reminders"):
        said, failed = look_after_all(workbench().store.all_waiting(), datetime.now(UTC))
        said += resume_what_ended()
    for line in said:
        get_run_logger().info(line)
    if failed:
        raise QuantplayError(
            f"{len(failed)} runs that wait for signatures could not be looked after; the others were", value="; ".join(failed),
            fix="nothing, if the Prefect server was away: the next hour tries again",
        )  # fmt: skip
    return "; ".join(said) or "nothing to remind of"


def look_after_all(waiting: Iterable[Waiting], now: datetime) -> tuple[list[str], list[str]]:
    """What was done, and what went wrong, in words: trouble with one run keeps nobody else from being reminded."""
    said: list[str] = []
    failed: list[str] = []
    for one in waiting:
        try:
            said += look_after(one, now)
        except (httpx.HTTPError, PrefectException, QuantplayError) as error:
            failed.append(f"run {one.waits.run[:8]}: {type(error).__name__}: {error}")
    return said, failed


def look_after(waiting: Waiting, now: datetime) -> list[str]:
    """What was done about one run, in words."""
    standing = standing_now(waiting)
    run = waiting.waits.run[:8]
    if standing.state != "awaiting":  # signed while Prefect's server was away
        return [f"run {run} has every signature and goes on"] if resume(waiting) else []
    if waiting.expired_at is not None:
        end_flow_run(waiting, standing)  # killed between the event and this, or the server was away
        return []
    if now >= waiting.asked_at + timedelta(days=workbench().settings.sign_off_days):
        expire(waiting, standing)
        return [f"run {run}: nobody answered, the request for {' and '.join(standing.missing)} expired"]
    if now >= max((waiting.asked_at, *waiting.reminded)) + EVERY:
        remind(waiting, standing)
        return [f"run {run} waits for {' and '.join(standing.missing)} since {waiting.asked_at:%Y-%m-%d %H:%M} UTC"]
    return []


def resume_what_ended() -> list[str]:
    """Let suspended flow runs end whose run was ended elsewhere, by `quantplay run` on some machine; what was done, in words."""
    said = []
    paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    with get_client(sync_client=True) as client:
        for flow_run in client.read_flow_runs(flow_run_filter=paused):
            run = workbench().store.run_of_flow_run(str(flow_run.id))
            row = workbench().store.get_run(run) if run is not None else None
            ended = row is not None and row.outcome not in (None, "awaiting_signature")
            if ended and run is not None and resumed(client, str(flow_run.id)):
                said.append(f"run {run[:8]} was ended elsewhere, so flow run {flow_run.name} ends too")
    return said


def standing_now(waiting: Waiting) -> Standing:
    """How the stage stands; without an owners file nobody's signature counts."""
    try:
        return stands_now(workbench().store, waiting.waits, owners_of_settings())
    except QuantplayError:
        return standing_of(waiting.waits, ())


def resume(waiting: Waiting) -> bool:
    """Resume the flow run that asked, or start the run anew where that one has ended; False where it is going on."""
    if waiting.request is None:
        return False
    with get_client(sync_client=True) as client:
        state = state_of(client, waiting.request.flow_run)
        if state is not None and not state.is_final():
            return state.is_paused() and resumed(client, waiting.request.flow_run)
        plan = waiting.waits.address or waiting.waits.plan_path
        return started_anew(client, waiting.request, plan).how == "started"


def remind(waiting: Waiting, standing: Standing) -> None:
    body = {"stage": standing.stage, "missing": list(standing.missing), "asked_at": waiting.asked_at.isoformat()}
    workbench().store.append_event("quantplay", REMINDED, waiting.waits.run, body)
    tell(REMINDER, waiting, standing)


def expire(waiting: Waiting, standing: Standing) -> None:
    """End the suspended flow run, which frees what it still holds in Prefect; the run itself goes on waiting, and can be asked again."""
    body = {"stage": standing.stage, "missing": list(standing.missing), "asked_at": waiting.asked_at.isoformat()}
    workbench().store.append_event("quantplay", EXPIRED, waiting.waits.run, body)
    end_flow_run(waiting, standing)
    tell(OVERDUE, waiting, standing)


def end_flow_run(waiting: Waiting, standing: Standing) -> None:
    """End the flow run that asked, if it is still suspended."""
    if waiting.request is None:
        return
    run = waiting.waits.run[:8]
    message = (
        f"Nobody signed as {' and '.join(standing.missing)} within {workbench().settings.sign_off_days} days. "
        f"`quantplay sign {run}` or `quantplay run` with the plan asks again; nothing is measured again."
    )
    with get_client(sync_client=True) as client:
        end_expired(client, waiting.request.flow_run, message)


def tell(event: str, waiting: Waiting, standing: Standing) -> None:
    """An event in Prefect, about the flow run that waits."""
    waits, asked = waiting.waits, waiting.request
    resource = {
        "prefect.resource.id": f"prefect.flow-run.{asked.flow_run}" if asked else f"quantplay.run.{waits.run}",
        "quantplay.run": waits.run,
    }
    payload = {
        "stage": waits.stage, "missing": list(standing.missing), "asked_at": waiting.asked_at.isoformat(),
        "page": asked.page if asked else None, "expires_at": asked.expires_at if asked else None,
        "command": f"quantplay sign {waits.run[:8]} --role {standing.missing[0]} --approve" if standing.missing else None,
    }  # fmt: skip
    emit_event(event=event, resource=resource, payload=payload)
