"""What a look at one day of an endpoint's traffic found."""

from __future__ import annotations

from typing import Literal

from quantplay.live.drift.fingerprint import Fingerprint
from quantplay.records.base import Digest, Record

Status = Literal["too few", "learning", "usual", "unusual", "drift"]
"""too few: conversations; learning: one of the days that later ones are compared with; unusual: beyond a limit, for the first day;
drift: beyond the same limit two days in a row."""


class Reading(Record):
    """One family of features on one day."""

    family: str
    distance: (
        float | None
    )  # from the reference, in bits; of `domain` a classifier's score; None while nothing is compared
    limit: float | None  # a day like the reference's is hardly ever farther
    beyond: bool
    day: str  # what it is like, in words
    reference: str
    calibration: str
    from_calibration: float | None  # bits, from the calibration set to the reference, or to what there is of it
    calibration_limit: float | None


class DriftFinding(Record):
    """One day. `due`: the package has to be measured again."""

    endpoint: str
    day: str  # ISO date, UTC
    package: Digest | None  # manifest of the package in force
    status: Status
    due: bool
    measure: (
        Digest | None
    )  # key of the locked package to measure again, as the registry lists it; None: not locked in this database
    conversations: int  # about so many there were
    looked: int  # at so many
    days: int  # of the reference
    readings: tuple[Reading, ...]
    reasons: tuple[str, ...]  # sentences, the deciding one first
    unlike: tuple[str, ...]  # how the calibration set differs from the traffic from the start; sentences
    fingerprint: Fingerprint | None = None  # of a day that later ones are compared with
    prompts: tuple[tuple[int, ...], ...] = ()  # features of some of its prompts, where they are stored; likewise

    @property
    def beyond(self) -> frozenset[str]:
        return frozenset(reading.family for reading in self.readings if reading.beyond)
