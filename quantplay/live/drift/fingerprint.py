"""Counts of many conversations' features. Two of them add up to the fingerprint of all their conversations, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quantplay.live.drift.features import BUCKETS, LAST_LENGTH, LAST_TURNS, Features
from quantplay.live.drift.languages import LANGUAGES
from quantplay.records.base import Record

Array = NDArray[np.float64]
FAMILIES: dict[str, int] = {
    "words": LAST_LENGTH + 1, "turns": LAST_TURNS + 1, "language": len(LANGUAGES), "form": 8, "mark": BUCKETS,
    "answer": LAST_LENGTH + 1,
}  # fmt: skip
"""What is compared -> how many bins it has."""
NAMES = {family: tuple(f"{family}:{number}" for number in range(size)) for family, size in FAMILIES.items()}
PREFIX = "drift_"  # of the gateway's counters
LOOKED, SEEN, SQUARES = "looked", "seen", "squares"
Count = Annotated[int, Field(ge=0)]


class Fingerprint(Record):
    """What conversations are like, as counts; nothing in it is a text.

    Where there were too many, a gateway looked at some, drawn by their hash, each standing for `weight` of them: `seen` is the sum
    of the weights, `squares` that of their squares.
    """

    looked: Count = 0
    seen: Count = 0
    squares: Count = 0
    counts: dict[str, Count] = Field(default_factory=dict)  # "FAMILY:BIN" -> sum of the weights

    def __add__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint(
            looked=self.looked + other.looked, seen=self.seen + other.seen, squares=self.squares + other.squares,
            counts=dict(Counter(self.counts) + Counter(other.counts)),
        )  # fmt: skip

    @property
    def size(self) -> float:
        """How many conversations drawn evenly would tell as much (Kish 1965, Survey Sampling, section 11.7)."""
        return self.seen**2 / self.squares if self.squares else 0.0

    def size_of(self, family: str) -> float:
        """The same for one family: not every conversation has an answer, and words of one conversation go together."""
        return self.size * min(1.0, self.bins(family).sum() / self.seen) if self.seen else 0.0

    def bins(self, family: str) -> Array:
        """Counts of one family, shape (bins,)."""
        get = self.counts.get
        return np.array([get(name, 0) for name in NAMES[family]], dtype=np.float64)

    def counters(self) -> dict[str, int]:
        """As a gateway's counters."""
        sums = {LOOKED: self.looked, SEEN: self.seen, SQUARES: self.squares}
        return {f"{PREFIX}{name}": value for name, value in {**sums, **self.counts}.items() if value}


EMPTY = Fingerprint()


class Tally:
    """A fingerprint under way."""

    def __init__(self) -> None:
        self.sums: dict[str, int] = {}

    def add(self, features: Features, weight: int = 1) -> None:
        sums = self.sums
        for name, value in ((LOOKED, 1), (SEEN, weight), (SQUARES, weight * weight)):
            sums[name] = sums.get(name, 0) + value
        for name in features.counts():
            sums[name] = sums.get(name, 0) + weight

    def fingerprint(self) -> Fingerprint:
        return from_sums(self.sums)


def fingerprint_of(conversations: Iterable[Features]) -> Fingerprint:
    tally = Tally()
    for features in conversations:
        tally.add(features)
    return tally.fingerprint()


def from_sums(sums: Mapping[str, int]) -> Fingerprint:
    """Of counters without their prefix. A bin this version does not know is left out."""
    totals = {name: sums.get(name, 0) for name in (LOOKED, SEEN, SQUARES)}
    return Fingerprint(**totals, counts={name: value for name, value in sorted(sums.items()) if value and known(name)})


def known(name: str) -> bool:
    family, _, number = name.partition(":")
    return family in FAMILIES and number.isdecimal() and int(number) < FAMILIES[family]


def from_counters(counters: Mapping[str, int]) -> Fingerprint:
    """Of a gateway's counters, whatever others are among them."""
    return from_sums({name.removeprefix(PREFIX): value for name, value in counters.items() if name.startswith(PREFIX)})
