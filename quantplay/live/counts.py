"""Counters as the gateway keeps them: cumulative a revision and arm, so that reading them twice or late counts nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.records import Signal
from quantplay.records.rollback_rules import SIGNALS

Array = NDArray[np.float64]
CANDIDATE, BASELINE = 0, 1  # order of the arms everywhere
ARMS = ("quantized", "full precision")
LEAST_EXPOSURE = (
    20  # conversations an arm: smaller looks are pooled, since events may come later than their conversations
)


@dataclass(frozen=True, kw_only=True)
class ArmCounts:
    """One arm since the revision began. What goes wrong is charged to the arm that was assigned."""

    conversations: int = 0
    events: Mapping[Signal, int] = field(default_factory=dict)
    decode: Mapping[int, int] = field(default_factory=dict)  # bucket of time per output token (speed.py) -> answers


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Both arms at one time."""

    at: int  # seconds since 1970, UTC
    revision: int
    candidate: ArmCounts
    baseline: ArmCounts
    weight: float | None = (
        None  # share assigned to the candidate all the time since the snapshot before; None: it changed
    )


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What happened between consecutive snapshots; arrays end in (arm, T)."""

    events: Array  # (..., S, 2, T)
    exposure: Array  # (..., 2, T) conversations, or (..., S, 2, T) where a signal has an exposure of its own
    seconds: Array  # (T,) between this look and the one before


def totals(snapshot: Snapshot) -> list[list[int]]:
    """Cumulative counts [arm][conversations, signals in their order]."""
    return [
        [arm.conversations, *(arm.events.get(name, 0) for name in SIGNALS)]
        for arm in (snapshot.candidate, snapshot.baseline)
    ]


def newer(history: Sequence[Snapshot], *, after: int, revision: int, now: int) -> list[Snapshot]:
    """The snapshots not judged yet, in the order of their times. Refused: other revisions, the future, one time told in two ways."""
    fresh = sorted((one for one in history if one.at > after), key=lambda one: one.at)
    for one in history:
        if one.revision != revision:
            raise InputError(
                "counts of another revision can't be judged",
                value=f"revision {one.revision}",
                allowed=f"revision {revision}",
                fix="read the counters of the revision in force",
            )
        unknown = [name for arm in (one.candidate, one.baseline) for name in arm.events if name not in SIGNALS]
        if unknown:
            raise InputError("counts of a signal that nobody knows", value=unknown[0], allowed=", ".join(SIGNALS))
    if fresh and fresh[-1].at > now:
        raise InputError(
            "counts from the future can't be judged",
            value=f"{fresh[-1].at - now} seconds ahead",
            allowed="counts taken before the judge looks",
            fix="set the clocks of gateway and judge by one source",
        )
    kept = fresh[:1]
    for one in fresh[1:]:
        if one.at != kept[-1].at:
            kept.append(one)
        elif one != kept[-1]:
            raise IntegrityError("two different counts claim the same time", value=f"second {one.at}")
    return kept


def check_forward(before: list[list[int]], counts: NDArray[np.int64], fresh: Sequence[Snapshot]) -> None:
    """Counters only rise. `counts` (T, 2, 1 + S), what they are at every snapshot; `before`, where they stood."""
    steps = np.diff(np.concatenate([np.asarray(before, dtype=np.int64)[None], counts]), axis=0)
    if (steps >= 0).all():
        return
    names = ("conversations", *SIGNALS)
    raise IntegrityError(
        "counters went backwards",
        faults=[
            Fault(
                where=f"second {fresh[t].at}, {ARMS[arm]}, {names[what]}",
                what="fell",
                value=f"by {-steps[t, arm, what]}",
            )
            for t, arm, what in np.argwhere(steps < 0)[:10]
        ],
        fix="a gateway lost its counters: start a new revision",
    )


def pooled(looks: Looks, carried: Array) -> tuple[Looks, Array]:
    """Looks with at least `LEAST_EXPOSURE` conversations an arm, each put where it closes, and what is left open.

    `carried` (1 + S, 2): conversations and events left open so far. Without enough of both arms an event that comes later than
    its conversation would meet a split of traffic that was never its own.
    """
    if not carried.any() and (looks.exposure >= LEAST_EXPOSURE).all():
        return looks, carried
    counts = np.concatenate([looks.exposure[None], looks.events])  # (1 + S, 2, T)
    out, open_ = np.zeros_like(counts), carried.copy()
    for t in range(counts.shape[-1]):
        open_ += counts[..., t]
        if (open_[0] >= LEAST_EXPOSURE).all():
            out[..., t], open_ = open_, np.zeros_like(open_)
    return Looks(events=out[1:], exposure=out[0], seconds=looks.seconds), open_
