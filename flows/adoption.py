"""Once a week: how far quantization has come where it counts, as a page, and remembered so that the next week can compare."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.form_fields import seen
from quantplay.adoption.words import coverage_sentences
from tasks.adoption import measure_adoption, remember_adoption, show_adoption

Days = Annotated[int, seen("Days", "How many days of volume are looked at, with today.", minimum=1, maximum=366)]
Source = Annotated[
    str,
    seen("Volume", "Empty: what our gateways counted. Else a CSV file that the worker can read, or prometheus:URL."),
]


@flow(
    name="adoption",
    description="Say how much of what is served comes from validated quantized models, the largest first, and what that took and saved.",
    persist_result=False,
)
def adoption(days: Days = 30, volume: Source = "") -> State[dict[str, Any]]:
    """The state's message is coverage in a sentence."""
    found = measure_adoption(days, volume)
    show_adoption(found)
    remember_adoption(found)
    return Completed(
        name="Measured" if found.coverage.covered is not None else "VolumeUnknown",
        message=next(coverage_sentences(found)), data={"covered": found.coverage.covered, "requests": found.coverage.requests},
    )  # fmt: skip
