"""What adoption is calculated from: volume with what served it, locked packages as they stand, runs, device time. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Literal, TypeVar

from quantplay.plan import BusinessCase
from quantplay.plays.funnel import Passage
from quantplay.plays.regressions import Seen
from quantplay.records import Digest, Record, StandingStatus
from quantplay.store.jobs import Job
from quantplay.store.volume import Tried

Arm = Literal["quantized", "full_precision", "untold"]
Kind = Literal["validated", "stale", "regressed", "unvalidated", "full_precision", "untold"]
KINDS: dict[Kind, str] = {
    "validated": "quantized and validated",
    "stale": "quantized, not confirmed any more",
    "regressed": "quantized, regressed or taken back",
    "unvalidated": "quantized, never validated here",
    "full_precision": "full precision",
    "untold": "not told what served",
}
"""What served a request -> in words. Only the first counts as covered."""
SourceKind = Literal["gateway", "csv", "prometheus"]


@dataclass(frozen=True, kw_only=True)
class Served:
    """Some volume, and what served it as far as that is known."""

    name: str  # endpoint or model, as the source calls it
    model: Digest | None  # content of the full-precision model; None: nothing on record here is called so
    arm: Arm
    package: Digest | None = None  # key of the locked package that served; None: none that is locked here
    taken_back: bool = False  # its revision was rolled back
    day: date | None  # UTC; None: since the source began to count
    requests: int
    tokens: int | None  # None: not known


@dataclass(frozen=True, kw_only=True)
class Volume:
    """What a source tells."""

    kind: SourceKind
    source: str  # in words
    since: date
    until: datetime | None  # UTC; None: the end of the last day
    rows: tuple[Served, ...]  # of the period
    ever: tuple[Served, ...]  # all that the source knows, for what is saved in all
    ever_since: date | None
    all_tokens: bool  # of prompts and answers; else of answers alone
    notes: tuple[str, ...] = ()  # what the numbers don't say


@dataclass(frozen=True, kw_only=True)
class Package:
    """A locked package today."""

    key: Digest
    name: str  # of its plan
    model: Digest | None
    type: str
    locked_on: date
    status: StandingStatus  # as last measured
    why: str
    incident: str | None  # id of the open one
    case: BusinessCase | None
    trained: bool
    freed_bytes: int | None  # of memory in use, a server; None: not measured for both

    @property
    def confirmed(self) -> bool:
        return self.status == "confirmed" and self.incident is None


class WentWrong(Record):
    """Models that got worse, by who saw it first (docs/incidents.md says what counts as what); the three are never added up."""

    seen_first: dict[Seen, int]  # over all time; every place is there
    of_period: dict[Seen, int]  # of these, since the first day of the volume
    incidents_open: int
    incidents_closed: int


@dataclass(frozen=True, kw_only=True)
class Past:
    """What an earlier look found."""

    day: date
    source: str  # kind
    requests: int
    covered: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything, as of `now`."""

    now: datetime
    volume: Volume
    packages: Mapping[Digest, Package]
    tried: tuple[Tried, ...]  # oldest first
    passages: tuple[Passage, ...] = ()  # oldest first
    jobs: tuple[Job, ...] = ()
    went_wrong: WentWrong
    past: tuple[Past, ...] = field(default=())  # oldest first

    @cached_property
    def packages_of(self) -> Mapping[Digest, tuple[Package, ...]]:
        """Model -> its packages, oldest first."""
        return grouped(sorted(self.packages.values(), key=lambda one: one.locked_on))

    @cached_property
    def tried_of(self) -> Mapping[Digest, tuple[Tried, ...]]:
        """Model -> its runs, oldest first."""
        return grouped(self.tried)


Of = TypeVar("Of", Package, Tried)


def grouped(some: Iterable[Of]) -> Mapping[Digest, tuple[Of, ...]]:
    found: dict[Digest, list[Of]] = {}
    for one in some:
        if one.model is not None:
            found.setdefault(one.model, []).append(one)
    return {model: tuple(ones) for model, ones in found.items()}


def kind_of(row: Served, packages: Mapping[Digest, Package]) -> Kind:
    """A package covers what it served from the day it was locked, while it is confirmed and its release was not taken back."""
    if row.arm != "quantized":
        return row.arm
    package = packages.get(row.package) if row.package is not None else None
    if package is None or (row.day is not None and row.day < package.locked_on):
        return "unvalidated"
    if row.taken_back or package.status == "regressed" or package.incident is not None:
        return "regressed"
    return "validated" if package.status == "confirmed" else "stale"
