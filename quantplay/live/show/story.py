"""What happened, as it is shown and drawn: looks with counts, and marks. Everything in it was read from the product database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from quantplay.live.rules import LiveSignal
from quantplay.live.show.users import Tally
from quantplay.live.state import Reading, Verdict
from quantplay.records.traffic import ServedBy

ENDPOINT = "pilot"
BEFORE, SPOILED, AFTER = "before the swap", "after the swap", "after the rollback"
Kind = Literal["release", "promotion", "swap", "rollback"]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One look."""

    at: float  # Unix time
    share: float  # of conversations that go to the quantized model
    counts: Mapping[tuple[ServedBy, str], int]  # cumulative, by assigned arm and counter
    verdict: Verdict | None  # None where nothing is left to be judged

    def count(self, arm: ServedBy, name: str) -> int:
        return self.counts.get((arm, name), 0)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that changed."""

    at: float
    kind: Kind
    words: str


@dataclass(kw_only=True)
class Story:
    """All of it, while it goes on."""

    revision: int
    admin: str  # address of the gateway's page
    tally: Tally
    rate: float  # conversations a second that are asked
    first: float  # share of traffic of the release
    moments: list[Moment] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def mark(self, kind: Kind) -> Mark | None:
        """The first of its kind."""
        return next((one for one in self.marks if one.kind == kind), None)

    @property
    def rollback(self) -> Verdict | None:
        """The verdict that took the model back."""
        return next((m.verdict for m in self.moments if m.verdict is not None and m.verdict.action == "rollback"), None)

    def telling(self) -> Reading | None:
        """The detector that decided; before it did, the one that is nearest to its threshold."""
        read = [m.verdict for m in self.moments if m.verdict is not None and m.verdict.readings]
        return max(read[-1].readings, key=nearness) if read else None

    def conversations_to_rollback(self) -> int | None:
        """On the quantized model, from the last look before the swap to the one that took it back."""
        swap, ended = self.mark("swap"), self.mark("rollback")
        if swap is None or ended is None:
            return None
        before = [m for m in self.moments if m.at <= swap.at]
        until = [m for m in self.moments if m.at <= ended.at + 1]
        name: ServedBy = "quantized"
        return until[-1].count(name, "conversations") - (before[-1].count(name, "conversations") if before else 0)


def nearness(reading: Reading) -> float:
    return reading.log_e / reading.log_threshold


def reading_of(verdict: Verdict, signal: LiveSignal, detector: str) -> Reading | None:
    return next((one for one in verdict.readings if (one.signal, one.detector) == (signal, detector)), None)
