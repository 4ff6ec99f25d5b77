"""A locked package measured again: what changed around it, what moved in it, and how it stands."""

from __future__ import annotations

from typing import Literal

from quantplay.records.base import Digest, Record, Verdict
from quantplay.records.decisions import Alarm, EnvelopeCheck, SliceVerdict
from quantplay.records.measurements import Divergence, Performance
from quantplay.records.place import Fingerprint

StandingStatus = Literal["confirmed", "stale", "regressed"]
"""confirmed: measured again, within the gate's bounds; stale: not, not conclusively, or not since the stack changed;
regressed: a bound is broken, the bytes are not the locked ones, or the model is not asked the same."""
Trigger = Literal["schedule", "stack.upgraded", "drift", "by hand"]


class StackChange(Record):
    """One thing of hardware or software that is not what it was."""

    what: str  # a package's name, or what it is in words
    before: str
    now: str


class Revalidation(Record):
    """The locked artifact through the same harness again, compared with the locked evaluation item by item."""

    package: Digest  # key of the package
    artifact: Digest  # sha256 of the locked file
    evaluation: Digest  # key of the locked evaluation
    trigger: Trigger
    at: str  # when it was judged, ISO 8601, UTC
    status: StandingStatus
    reasons: tuple[str, ...]  # sentences, the deciding one first
    stack_then: Digest  # fingerprint of the locked evaluation
    stack_now: Digest
    stack: Fingerprint  # today's
    changes: tuple[StackChange, ...]
    harness_then: Digest
    harness_now: Digest
    measured: Digest | None  # key of today's evaluation; None where nothing could be measured
    items: int  # compared
    lost: int  # scored lower than locked
    won: int
    responses_changed: int
    slices: tuple[SliceVerdict, ...]  # today's results against the locked ones, by the gate's bounds
    against_baseline: Verdict | None  # the plan's gate on today's results; None where they could not be put to it
    envelope: tuple[EnvelopeCheck, ...]
    alarms: tuple[Alarm, ...]
    divergence_then: Divergence
    divergence_now: Divergence | None
    performance_then: Performance
    performance_now: Performance | None
