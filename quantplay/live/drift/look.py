"""A day of an endpoint's traffic on the product database: read what was counted, compare, remember.

What is found is an event of the endpoint, written once a day, with the day's fingerprint while later days are to be compared with it. So
two days in a row are two days in a row whatever was restarted in between, and nothing depends on how long counters are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from quantplay.errors import InputError
from quantplay.live.drift.calibration import calibration_fingerprint
from quantplay.live.drift.domain import KEPT, row_of
from quantplay.live.drift.features import of_text
from quantplay.live.drift.finding import DriftFinding, Status
from quantplay.live.drift.fingerprint import PREFIX, Fingerprint, from_counters
from quantplay.live.drift.usual import Day, Usual
from quantplay.live.drift.verdict import LEAST, REFERENCE_DAYS, readings, reasons, unlike
from quantplay.records import Digest
from quantplay.store.registry import Store

LOOKED = "traffic.drift"  # kind of event
ACTOR = "quantplay"
IN_A_ROW_DAYS = 4  # a weekend or a holiday without traffic does not part two days
CAUGHT_UP_DAYS = 30  # that nobody looked at, and whose counts are still there


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is remembered of an endpoint: the days later ones are compared with, and the last day that was compared."""

    reference: tuple[Day, ...] = ()
    last: DriftFinding | None = None


def look_for_drift(store: Store, endpoint: str, day: date | None = None) -> DriftFinding:
    """Did traffic on `day` (UTC, yesterday by default) differ from what is usual, the second day in a row? Then it is `due`.

    Days before it that nobody looked at are looked at first. A day that is over is recorded; asked again, the recorded finding is the
    answer. Raises InputError for an endpoint that does not exist and for a day to come.
    """
    today = datetime.now(UTC).date()
    day = day or today - timedelta(days=1)
    if day > today:
        raise InputError("this day is still to come", value=day.isoformat(), allowed=f"a day up to {today}")
    found = {one.day: one for one in findings(store, endpoint)}
    if day.isoformat() in found:
        return found[day.isoformat()]
    served = what_is_served(store, endpoint)
    earlier = [date.fromisoformat(one) for one in found if one < day.isoformat()]
    this = max([served.began, day - timedelta(days=CAUGHT_UP_DAYS), *(one + timedelta(days=1) for one in earlier)])
    if this > day or len(earlier) < len(found):  # what later days were compared with is not changed by hindsight
        this = day
    while True:
        finding = compared(store, served, this, known(list(found.values()), served.package, this))
        if served.began <= this < today and finding.status != "too few":  # a whole day
            store.append_event(ACTOR, LOOKED, endpoint, finding.body())
            found[finding.day] = finding
        if this == day:
            return finding
        this += timedelta(days=1)


def findings(store: Store, endpoint: str) -> list[DriftFinding]:
    """One a day, by day; of two the first."""
    told: dict[str, DriftFinding] = {}
    for event in store.events(kind=LOOKED, subject=endpoint):
        told.setdefault(event.body["day"], DriftFinding.model_validate(event.body))
    return [told[day] for day in sorted(told)]


@dataclass(frozen=True, kw_only=True)
class Served:
    """What is in force at an endpoint."""

    endpoint: str
    package: Digest | None
    began: date  # first whole day of the package
    measure: Digest | None  # the package's key in the registry
    calibration: Fingerprint | None


def what_is_served(store: Store, endpoint: str) -> Served:
    policies = store.traffic_policies(endpoint)
    if not policies:
        names = ", ".join(one.endpoint for one in store.traffic_policies())
        raise InputError("there is no such endpoint", value=endpoint, allowed=names or "none yet")
    package = store.policy_revision(endpoint, policies[0].revision).package
    began = datetime.now(UTC)
    for change in reversed(store.traffic_changes(endpoint)):
        if store.policy_revision(endpoint, change.revision).package != package:
            break
        began = change.at
    locked = [one.key for one in store.locked_packages() if package is not None and one.package.manifest == package]
    return Served(
        endpoint=endpoint, package=package, began=began.astimezone(UTC).date() + timedelta(days=1),
        measure=locked[0] if locked else None,
        calibration=calibration_fingerprint(store, package) if package is not None else None,
    )  # fmt: skip


def known(found: Sequence[DriftFinding], package: Digest | None, day: date) -> Known:
    """What the findings before `day` add up to. Another package, or a drift that was found, begins a new reference."""
    reference: list[Day] = []
    last: DriftFinding | None = None
    for one in sorted((one for one in found if one.day < day.isoformat()), key=lambda one: one.day):
        if one.due or one.package != package:
            reference, last = [], None
        elif one.fingerprint is not None:
            reference.append(Day(date=date.fromisoformat(one.day), fingerprint=one.fingerprint, prompts=one.prompts))
        else:
            last = one
    return Known(reference=tuple(reference), last=last)


def compared(store: Store, served: Served, day: date, before: Known) -> DriftFinding:
    stored = store.live_texts(served.endpoint, day, KEPT)
    this = Day(
        date=day, fingerprint=from_counters(store.live_day(served.endpoint, day, PREFIX)),
        prompts=tuple(row_of(of_text(text)) for text in stored),
    )  # fmt: skip
    enough, learning = this.fingerprint.size >= LEAST, len(before.reference) < REFERENCE_DAYS
    usual = Usual((*before.reference, this) if enough and learning else before.reference)
    found = readings(usual, this, served.calibration, compare=enough and not learning)
    start = unlike(usual, found, served.calibration)
    beyond = frozenset(one.family for one in found if one.beyond)
    status: Status = "too few" if not enough else "learning" if learning else "unusual" if beyond else "usual"
    if beyond & again(before.last, day):
        status = "drift"
    said = {
        "too few": (f"{this.fingerprint.looked} conversations were counted, and it takes {LEAST}.",),
        "learning": (f"Day {len(usual.days)} of {REFERENCE_DAYS} that later days are compared with.",),
        "usual": ("The traffic is as usual.",),
    }
    told = said.get(status) or reasons(usual, this, found)
    if start and status == "learning" and len(usual.days) in (1, REFERENCE_DAYS):
        told += ("The calibration set does not look like the traffic.",)
    return DriftFinding(
        endpoint=served.endpoint, day=day.isoformat(), package=served.package, status=status, due=status == "drift",
        measure=served.measure, conversations=this.fingerprint.seen, looked=this.fingerprint.looked, days=len(usual.days),
        readings=found, reasons=told, unlike=start, fingerprint=this.fingerprint if status == "learning" else None,
        prompts=this.prompts if status == "learning" else (),
    )  # fmt: skip


def again(last: DriftFinding | None, day: date) -> frozenset[str]:
    """Families that were beyond their limits on the day before."""
    if last is None or (day - date.fromisoformat(last.day)).days > IN_A_ROW_DAYS:
        return frozenset()
    return last.beyond
