"""What the judge remembers between two looks, and what it says. Both are canonical JSON; a judge killed anywhere goes on from the last."""

from __future__ import annotations

from typing import Literal

from quantplay.live.rules import LiveSignal
from quantplay.records import Digest, Record

Action = Literal["continue", "promote", "hold", "freeze", "rollback"]
"""hold: no more traffic, the split is not what was ordered; freeze: no more traffic, no counts arrive."""
Cause = Literal["kill_switch", "floor", "worse", "mismatch", "blind", "as_good", "waiting", "at_the_top"]
Numbers = tuple[float, ...]


class RolledBack(Record):
    """The end of a revision: only a new one serves the quantized model again."""

    at: int  # seconds since 1970, UTC: of the counts that decided, or of the clock
    cause: Literal["kill_switch", "floor", "worse", "blind"]
    reasons: tuple[str, ...]


class JudgeState(Record):
    """Everything that earlier looks left behind. Logarithms are natural."""

    later = frozenset({"reference"})

    revision: int
    rules: Digest
    at: int  # of the last counts judged, or the start of the revision
    counts: tuple[tuple[int, ...], ...]  # cumulative then: an arm its conversations and signals
    decode: tuple[dict[int, int], dict[int, int]]  # histograms of decode speed then
    open: tuple[Numbers, ...]  # conversations and signals of looks too small to compare yet, an arm each
    logs: tuple[tuple[Numbers, ...], ...]  # launch and change, rows, alternatives
    since_launch: tuple[tuple[Numbers, ...], ...]  # signals, arms, conversations and events
    window: tuple[tuple[Numbers, ...], ...]  # the same since the sum over restarts last was quiet
    stage_weight: float | None = None  # share of traffic of this stage of the ramp
    stage_conversations: int = 0  # on the quantized model before this stage
    promotion: tuple[tuple[Numbers, ...], ...]
    mismatch: Numbers
    mismatch_since: int | None = None  # when the split of traffic was found to be another than ordered
    mismatch_reason: str = ""
    rolled_back: RolledBack | None = None
    reference: Numbers | None = None  # limits, once nobody is on full precision any more (quantplay.live.reference)


class Reading(Record):
    """One detector now, for a chart and for people."""

    signal: LiveSignal
    detector: Literal["launch", "change", "floor_launch", "floor_change", "promotion"]
    log_e: float
    log_threshold: float
    candidate: tuple[int, int]  # events, conversations
    baseline: tuple[int, int]


class Verdict(Record):
    """What is to be done now, and why."""

    action: Action
    cause: Cause
    reasons: tuple[str, ...]
    at: int
    next_weight: float | None = None  # where the action is promote
    readings: tuple[Reading, ...] = ()
    state: JudgeState
