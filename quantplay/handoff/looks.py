"""What every candidate that was tried took, with what had been predicted of it beside."""

from __future__ import annotations

from dataclasses import dataclass

from quantplay.gate.predicted import compare
from quantplay.handoff import words
from quantplay.handoff.contents import Attempt
from quantplay.records import EnvelopeChoice

COLUMNS = {"first token": "time to first token", "per token": "time per token", "peak memory": "peak memory"}
"""Name of the column -> name of the comparison."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    name: str
    measured: str  # empty where the record is older than the field
    predicted: str  # empty where nothing was: a mix or trained weights are none of the planner's candidates


def cells(one: Attempt, choice: EnvelopeChoice | None) -> tuple[Cell, ...]:
    """Time to first token, time per token (medians) and peak memory of one look at the gate split."""
    speed = one.performance
    if speed is None:
        return tuple(Cell(name=name, measured="", predicted="") for name in COLUMNS)
    told = {} if choice is None or one.made else {each.what: each for each in compare(choice, one.type, speed)}
    measured = {
        "first token": f"{words.compact(speed.time_to_first_token_ms.p50)} ms",
        "per token": f"{words.compact(speed.time_per_token_ms.p50)} ms",
        "peak memory": words.size(speed.peak_bytes),
    }
    return tuple(
        Cell(
            name=name,
            measured=measured[name],
            predicted=f"{words.compact(found.predicted)} {found.unit}" if (found := told.get(what)) else "",
        )
        for name, what in COLUMNS.items()
    )
