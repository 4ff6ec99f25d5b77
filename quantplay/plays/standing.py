"""How a locked package stands on a machine: by its newest re-validation, or by the lock itself, and what changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

from quantplay.envelope.changes import changes_sentence, stack_changes
from quantplay.records import Digest, Fingerprint, Record, StackChange, StandingStatus

HOLDS = timedelta(days=90)  # as long as a baseline; longer than any schedule of re-validations should be silent


class Standing(Record):
    """One locked package today."""

    package: Digest
    name: str  # of its plan
    status: StandingStatus
    at: str  # when it was locked or measured again, ISO 8601
    revalidation: Digest | None  # key of the newest one; None where the lock itself stands
    why: str  # a sentence


class Measured(Protocol):
    """What a re-validation says here: the record, or what a look-up read of it."""

    @property
    def stack(self) -> Fingerprint: ...
    @property
    def status(self) -> StandingStatus: ...
    @property
    def reasons(self) -> tuple[str, ...]: ...
    @property
    def at(self) -> str: ...


def standing(
    *,
    package: Digest,
    name: str,
    locked_at: str,
    locked_on: Fingerprint,
    newest: tuple[Digest, Measured] | None,
    stack: Fingerprint,
    now: datetime,
    compare: Callable[[Fingerprint, Fingerprint], tuple[StackChange, ...]] = stack_changes,
) -> Standing:
    """`locked_on`: stack of the locked evaluation; `stack`: today's; `now`: with a time zone.

    A change since the last measurement makes a confirmed one stale, and so does time.
    """
    measured_on = newest[1].stack if newest is not None else locked_on
    changes = compare(measured_on, stack)
    status: StandingStatus = newest[1].status if newest is not None else "confirmed"
    why = newest[1].reasons[0] if newest is not None else "Measured when it was locked."
    if changes and status == "confirmed":
        status = "stale"
        why = f"Not measured again since the stack changed: {changes_sentence(changes)}."
    at = newest[1].at if newest is not None else locked_at
    if status == "confirmed" and now - datetime.fromisoformat(at) > HOLDS:
        status, why = "stale", f"Not measured again for more than {HOLDS.days} days: do its re-validations run?"
    return Standing(
        package=package, name=name, status=status, at=at,
        revalidation=newest[0] if newest is not None else None, why=why,
    )  # fmt: skip


def worst_of(found: Iterable[StandingStatus]) -> StandingStatus:
    """The status that a list of packages has as a whole; confirmed where there is none."""
    there = set(found)
    return "regressed" if "regressed" in there else "stale" if "stale" in there else "confirmed"
