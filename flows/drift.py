"""Daily: is live traffic still what the package was made for? Where it is not, the package is measured again.

Only where that fails is there anything to make anew: the incident and the notice say so, people decide.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.revalidate import revalidate
from quantplay.errors import InternalError, QuantplayError
from quantplay.live.drift.finding import DriftFinding
from quantplay.live.watch import endpoints
from tasks.drift import is_handled, look_at_yesterday, note_drift
from tasks.workbench import workbench

ORDER = ("drift", "unusual", "learning", "usual", "too few")
OUTCOMES = {
    "Confirmed": "Its package was measured again and holds: nothing is to be made anew.",
    "Stale": "Its package was measured again, and not conclusively: look at the re-validation.",
    "Regressed": "Its package was measured again and does not hold any more: quantize again, with a calibration set drawn from today's traffic.",
}


@flow(
    name="drift",
    description="Compare yesterday's traffic of every endpoint with what is usual there; measure the package again where it drifted.",
    persist_result=False,
)
def drift() -> State[list[dict[str, Any]]]:
    """The state's name is the status people have to see first. Fails where something could not be done, after everything else was."""
    found, lost = [], []
    for name in endpoints(workbench().store):
        try:
            found.append(look_at_yesterday(name))
            if found[-1].due and not is_handled(found[-1]):
                note_drift(found[-1], measured_again(found[-1]))
        except QuantplayError as error:
            lost.append(f"{name}: {error.what}")
    if lost:
        raise InternalError(
            "not every endpoint could be looked at; the others were", value="; ".join(lost),
            fix="nothing, if a service was away: tomorrow looks at the days that were missed",
        )  # fmt: skip
    worst = min((one.status for one in found), key=ORDER.index, default="too few")
    message = "; ".join(f"{one.endpoint}: {one.status}" for one in found) or "nothing is released"
    return Completed(
        name=worst.title().replace(" ", ""),
        message=message,
        data=[{"endpoint": one.endpoint, "status": one.status} for one in found],
    )


def measured_again(found: DriftFinding) -> str:
    """What measuring the package again said, as a sentence."""
    if found.measure is None:
        return "Its package was not locked in this database, so it can't be measured again here: quantize again, or release one that was."
    state = revalidate(packages=found.measure, reason="drift", return_state=True)
    if not state.is_completed():
        return f"Its package could not be measured again: {state.message}"
    return OUTCOMES.get(state.name or "", f"Its package was measured again: {state.name}.")
