"""A plan beside the organisation's standards: which ones, and where it departs from them."""

from __future__ import annotations

from quantplay.records.base import Digest, Record


class Departure(Record):
    """One place where a plan, or a locked model, is not as the standards say."""

    rule: str  # standards.tolerance ...: what a plan's deviation names to give its reason
    place: tuple[str | int, ...]  # in the plan
    what: str  # a sentence without a full stop
    standard: str  # what the standards say
    found: str  # what the plan says, or what was measured
    fix: str
    when: str = ""  # when to deviate, in the standards' words
    acceptable: bool = True  # whether a reason in the plan is enough
    reason: str | None = None  # the plan's


class StandardsCheck(Record):
    """What a plan was compared with before anything was measured, and what came of it."""

    standards: Digest
    version: int
    title: str
    use_case: str  # class of the standards that the plan falls under
    departures: tuple[Departure, ...]

    @property
    def open(self) -> tuple[Departure, ...]:
        """Departures for which the plan gives no reason, or for which none is enough."""
        return tuple(one for one in self.departures if one.reason is None or not one.acceptable)
