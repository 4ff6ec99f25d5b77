"""Play 8, every minute: each endpoint is judged, a bad model taken back, people told, and what was found shown.

`quantplay judge` does the same without Prefect. Both at once do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from quantplay.errors import InternalError, QuantplayError
from quantplay.live.markdown import RANK
from quantplay.live.watch import Watched, endpoints
from tasks.monitor import judge_endpoint, show, tell
from tasks.workbench import workbench

NAMES = {
    "rollback": "RolledBack",
    "freeze": "Blind",
    "hold": "Held",
    "promote": "MoreTraffic",
    "continue": "Watched",
    "nobody": "FullPrecisionOnly",
}


@flow(
    name="monitor",
    description="Judge every endpoint that serves a quantized model; take back what is worse, give more traffic to what is as good.",
    persist_result=False,
)
def monitor() -> State[list[dict[str, Any]]]:
    """The state's name is what people have to see first, its message how each endpoint stands.

    Fails where an endpoint could not be judged or somebody not be told, after everything else was done.
    """
    watched = [judge_endpoint(name) for name in endpoints(workbench().store)]
    if not watched:
        return Completed(name="NothingLive", message="nothing is released")
    lost = [*shown(watched), *(f"{one.endpoint}: {one.fault.what}" for one in watched if one.fault is not None)]
    if lost:
        raise InternalError(
            "not everything could be judged, shown and told; the rest was", value="; ".join(lost),
            fix="nothing, if a service was away: the next minute looks again",
        )  # fmt: skip
    worst = min((one.action for one in watched), key=RANK.index)
    message = "; ".join(f"{one.endpoint}: {one.action}" for one in watched)
    return Completed(
        name=NAMES[worst], message=message, data=[{"endpoint": one.endpoint, "action": one.action} for one in watched]
    )


def shown(watched: Sequence[Watched]) -> list[str]:
    """Tell and show; what went wrong there, in words: it keeps nobody from being judged."""
    lost: list[str] = []
    try:
        lost += tell(watched)
    except QuantplayError as error:
        lost.append(error.what)
    try:
        show(watched)
    except QuantplayError as error:
        lost.append(error.what)
    return lost
