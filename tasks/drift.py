"""Drift on the platform: one endpoint's day, and what came of it. What drift is: quantplay.live.drift."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.handoff.markdown import table
from quantplay.handoff.templating import md
from quantplay.live.drift.finding import DriftFinding
from quantplay.live.drift.look import look_for_drift
from quantplay.live.drift.words import NAMES
from quantplay.live.notices import DRIFTED
from tasks.monitor import ONCE, key_of
from tasks.progress import announce
from tasks.workbench import workbench


@task(name="drift", task_run_name="drift {endpoint}", **ONCE)
def look_at_yesterday(endpoint: str) -> DriftFinding:
    found = look_for_drift(workbench().store, endpoint)
    announce("drift", f"{endpoint}: {found.status}")
    create_markdown_artifact(
        drift_markdown(found), key=f"drift-{key_of(endpoint)}", description=f"{endpoint}, {found.day}: {found.status}"
    )
    return found


def is_handled(found: DriftFinding) -> bool:
    events = workbench().store.events(kind=DRIFTED, subject=found.endpoint)
    return any(one.body["day"] == found.day for one in events)


@task(name="note the drift", **ONCE)
def note_drift(found: DriftFinding, came_of_it: str) -> None:
    """From now on it is handled, and `monitor/every-minute`, or a judge without Prefect, tells people."""
    body = {"day": found.day, "reasons": list(found.reasons), "came_of_it": came_of_it}
    workbench().store.append_event("quantplay", DRIFTED, found.endpoint, body)


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
