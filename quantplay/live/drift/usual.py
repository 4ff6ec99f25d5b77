"""The days that are taken as usual: the centre of each family, and how far one more such day may be from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import add

from quantplay.live.drift.divergence import divergence, limit, pooled, spread_of
from quantplay.live.drift.fingerprint import EMPTY, FAMILIES, Array, Fingerprint

QUARTER = 91
CHANCE = 1 / QUARTER / (len(FAMILIES) + 1)
"""Of a day beyond one family's limit, or the classifier's, though nothing changed: all of them together once a quarter, even if such days came in pairs only."""
SATURDAY = 5
ANY = ""  # kind of every day
STEPS = (
    4  # sizes of days an octave for which a limit is worked out; the smaller one is taken, which gives the larger limit
)


@dataclass(frozen=True, kw_only=True)
class Day:
    date: date
    fingerprint: Fingerprint
    prompts: tuple[tuple[int, ...], ...] = ()  # features of some, where they are stored (domain.py)

    @property
    def kind(self) -> str:
        return "weekend" if self.date.weekday() >= SATURDAY else "working day"


class Usual:
    """Some days, none of them without conversations. Limits are worked out when they are asked for, each once."""

    def __init__(self, days: Sequence[Day]) -> None:
        self.days = tuple(days)
        self.fingerprint = reduce(add, (day.fingerprint for day in days), EMPTY)
        self.everywhere = {family for family in FAMILIES if all(day.fingerprint.bins(family).any() for day in days)}
        self.limits: dict[tuple[str, str, int], float] = {}
        self.spreads: dict[tuple[str, bool], Array] = {}
        self.centres: dict[tuple[str, str], Array] = {}

    def centre(self, family: str, kind: str) -> Array:
        """Counts, (bins,)."""
        if (family, kind) not in self.centres:
            chosen = [day.fingerprint for day in self.days if kind in (ANY, day.kind)]
            self.centres[family, kind] = pooled(chosen, family)
        return self.centres[family, kind]

    def size(self, family: str, kind: str) -> float:
        """Conversations behind a centre."""
        return sum(day.fingerprint.size_of(family) for day in self.days if kind in (ANY, day.kind))

    def limit(self, family: str, kind: str, size: float) -> float:
        """How far (bits) one more day, or any draw, of `size` conversations is at most from the centre of a kind."""
        step = math.floor(STEPS * math.log2(max(1.0, size)))
        if (family, kind, step) not in self.limits:
            centre, spread, sizes, kinds = self.around(family, kind, 2 ** (step / STEPS))
            self.limits[family, kind, step] = limit(centre, spread, sizes, CHANCE, kinds=kinds)
        return self.limits[family, kind, step]

    def around(self, family: str, kind: str, size: float) -> tuple[Array, Array, tuple[float, float], int]:
        """What a limit is worked out from: centre, deviations of the days, sizes of a day and of the centre, number of kinds."""
        kinds = [ANY if kind == ANY else day.kind for day in self.days]
        if (family, kind == ANY) not in self.spreads:
            self.spreads[family, kind == ANY] = spread_of([day.fingerprint for day in self.days], kinds, family)
        sizes = (size, self.size(family, kind))
        return self.centre(family, kind), self.spreads[family, kind == ANY], sizes, len(set(kinds))

    def nearest(self, family: str, fingerprint: Fingerprint) -> tuple[float, float] | None:
        """(distance, limit) from the kind of days it resembles most: a holiday on a Monday is like a Sunday.

        None where the day or one of the usual days has nothing of the family.
        """
        found = self.distance(family, fingerprint)
        return None if found is None else (found[0], self.limit(family, found[1], fingerprint.size_of(family)))

    def distance(self, family: str, fingerprint: Fingerprint) -> tuple[float, str] | None:
        """(distance, kind of days it resembles most)."""
        counts = fingerprint.bins(family)
        if family not in self.everywhere or not counts.any():
            return None
        kinds = {day.kind for day in self.days}
        return min((float(divergence(counts, self.centre(family, kind))), kind) for kind in kinds)

    def drawn(self, family: str, fingerprint: Fingerprint) -> tuple[float, float] | None:
        """(distance, limit) of conversations drawn from all these days, such as a calibration set's."""
        counts, centre = fingerprint.bins(family), self.centre(family, ANY)
        if not counts.any() or not centre.any():
            return None
        return float(divergence(counts, centre)), self.limit(family, ANY, fingerprint.size_of(family))
