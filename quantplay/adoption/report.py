"""All that adoption tells, with the base and the period of every number. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time

from quantplay.adoption.coverage import (
    Apart,
    Coverage,
    ModelRow,
    Untold,
    apart,
    by_model,
    covered,
    declined_models,
    without_volume,
)
from quantplay.adoption.facts import Facts, SourceKind, WentWrong
from quantplay.adoption.savings import DeviceHours, Savings, device_hours, savings
from quantplay.adoption.timing import Timing, timing
from quantplay.plays.funnel import FunnelRow, funnel
from quantplay.records import Digest, Record


class Declined(Record):
    """A model for which quantizing is the wrong move: counted for, not against."""

    name: str
    model: Digest
    requests: int | None  # None: the source tells no volume of it
    why: str


class Before(Record):
    """What an earlier weekly look at the same kind of source found."""

    day: str
    requests: int
    covered: float | None


class Adoption(Record):
    """As of `at`; volume of `since` to `until`, everything else over all time unless it says otherwise."""

    at: str  # ISO 8601, UTC
    since: str  # first day, UTC
    until: str | None  # ISO 8601, UTC; None: the source tells nothing of the period
    source: SourceKind
    source_words: str
    notes: tuple[str, ...]  # what the numbers don't say
    coverage: Coverage
    models: tuple[ModelRow, ...]  # the most requests first
    apart: tuple[Apart, ...]
    without_volume: tuple[Untold, ...]  # but for declined ones
    declined: tuple[Declined, ...]
    timing: Timing
    went_wrong: WentWrong
    savings: Savings
    device_hours: DeviceHours  # of all time
    device_hours_of_period: DeviceHours
    funnel: tuple[FunnelRow, ...]
    runs: int
    before: tuple[Before, ...]  # oldest first

    @property
    def is_empty(self) -> bool:
        """Nothing was run here, and nothing is served."""
        return not self.runs and not self.models


def measured(facts: Facts) -> Adoption:
    volume = facts.volume
    turned_down = declined_models(facts)
    models, rest = by_model(facts), without_volume(facts)
    return Adoption(
        at=facts.now.astimezone(UTC).isoformat(timespec="minutes"), since=volume.since.isoformat(),
        until=volume.until.isoformat(timespec="minutes") if volume.until is not None else None,
        source=volume.kind, source_words=volume.source, notes=volume.notes,
        coverage=covered(volume.rows, facts.packages, turned_down), models=models, apart=apart(facts), without_volume=tuple(one for one in rest if one.model not in turned_down),
        declined=(
            *(Declined(name=one.name, model=one.model, requests=one.requests, why=one.why)
              for one in models if one.model is not None and one.model in turned_down),
            *(Declined(name=one.name, model=one.model, requests=None, why=one.why) for one in rest if one.model in turned_down),
        ),
        timing=timing(facts.tried),
        went_wrong=facts.went_wrong,
        savings=savings(facts), device_hours=device_hours(facts),
        device_hours_of_period=device_hours(facts, datetime.combine(volume.since, time(), UTC)),
        funnel=funnel(facts.passages), runs=len(facts.tried),
        before=tuple(
            Before(day=one.day.isoformat(), requests=one.requests, covered=one.covered / one.requests if one.requests else None)
            for one in facts.past
        ),
    )  # fmt: skip
