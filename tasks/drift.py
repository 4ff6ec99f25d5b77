"""Drift on the platform: one endpoint's day, and what people hear of it. What drift is: quantplay.live.drift."""

from __future__ import annotations

from datetime import UTC, date, datetime

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.handoff.markdown import table
from quantplay.handoff.templating import md
from quantplay.live.drift.finding import DriftFinding
from quantplay.live.drift.look import look_for_drift
from quantplay.live.drift.words import NAMES
from quantplay.live.notices import Notice
from quantplay.live.send import read_addresses, send_all
from tasks.monitor import ONCE, emit, key_of
from tasks.progress import announce
from tasks.workbench import workbench

HANDLED = "traffic.drift_handled"
"""Kind of the event that says what a drift led to; its day is not handled again."""


@task(name="drift", task_run_name="drift {endpoint}", **ONCE)
def look_at_yesterday(endpoint: str) -> DriftFinding:
    found = look_for_drift(workbench().store, endpoint)
    announce("drift", f"{endpoint}: {found.status}")
    create_markdown_artifact(
        drift_markdown(found), key=f"drift-{key_of(endpoint)}", description=f"{endpoint}, {found.day}: {found.status}"
    )
    return found


def is_handled(found: DriftFinding) -> bool:
    events = workbench().store.events(kind=HANDLED, subject=found.endpoint)
    return any(one.body["day"] == found.day for one in events)


@task(name="tell of drift", **ONCE)
def tell_of_drift(found: DriftFinding, came_of_it: str) -> list[str]:
    """Once a drift: an event, messages, and the note that it is handled. Who could not be reached, in words."""
    bench = workbench()
    at = datetime.combine(date.fromisoformat(found.day), datetime.min.time(), UTC)
    text = " ".join((*found.reasons, came_of_it))
    notice = Notice(endpoint=found.endpoint, revision=None, kind="drifted", at=at, text=text)
    emit(notice)
    notices = bench.settings.notices
    lost = [] if notices is None else send_all(notice, read_addresses(notices))
    bench.store.append_event("quantplay", HANDLED, found.endpoint, {"day": found.day, "came_of_it": came_of_it})
    return lost


def drift_markdown(found: DriftFinding) -> str:
    """A day of an endpoint, feature by feature."""
    parts = [
        f"**{found.status}**, {found.day}, {found.looked:,} conversations looked at, of about {found.conversations:,}; "
        f"{found.days} days are taken as usual",
        "\n".join(f"- {md(reason)}" for reason in (*found.reasons, *found.unlike)),
    ]
    rows = [
        (NAMES[one.family], md(one.day), md(one.reference), bits(one.distance), bits(one.limit))
        for one in found.readings
    ]
    if rows:
        parts.append(table(("Feature", "That day", "Usual", "Distance", "Limit"), rows, numbers=(3, 4)))
    return "\n\n".join(part for part in parts if part) + "\n"


def bits(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
