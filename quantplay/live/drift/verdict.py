"""One day against the days that are taken as usual, and the calibration set against those. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quantplay.live.drift.domain import told_apart
from quantplay.live.drift.finding import Reading
from quantplay.live.drift.fingerprint import FAMILIES, Fingerprint
from quantplay.live.drift.usual import Day, Usual
from quantplay.live.drift.words import DOMAIN, change, described

REFERENCE_DAYS = 14  # two whole weeks
LEAST = 100  # conversations, by what they tell, from which a day is looked at


def readings(usual: Usual, day: Day, calibration: Fingerprint | None, *, compare: bool) -> tuple[Reading, ...]:
    """Every family. compare: `day` against the usual days; the calibration set is compared with those anyway."""
    found = tuple(reading(family, usual, day, calibration, compare) for family in FAMILIES)
    score = told_apart(day.prompts, [one.prompts for one in usual.days]) if compare else None
    if score is None:
        return found
    return (*found, Reading(
        family=DOMAIN, distance=score[0], limit=score[1], beyond=score[0] > score[1], day="", reference="", calibration="",
        from_calibration=None, calibration_limit=None,
    ))  # fmt: skip


def reading(family: str, usual: Usual, day: Day, calibration: Fingerprint | None, compare: bool) -> Reading:
    away, most = (usual.nearest(family, day.fingerprint) if compare else None) or (None, None)
    start, start_most = (usual.drawn(family, calibration) if calibration is not None else None) or (None, None)
    return Reading(
        family=family, distance=away, limit=most, beyond=away is not None and most is not None and away > most,
        day=described(day.fingerprint, family), reference=described(usual.fingerprint, family),
        calibration=described(calibration, family), from_calibration=start, calibration_limit=start_most,
    )  # fmt: skip


def reasons(usual: Usual, day: Day, found: Sequence[Reading]) -> tuple[str, ...]:
    """A sentence for every family that is beyond its limit, the farthest first."""
    beyond = [(one.distance / one.limit, one) for one in found if one.beyond and one.distance and one.limit]
    return tuple(
        change(one.family, day.fingerprint, usual.fingerprint, "before", one.distance or 0, one.limit or 0)
        for _, one in sorted(beyond, key=lambda pair: -pair[0])
    )


def unlike(usual: Usual, found: Sequence[Reading], calibration: Fingerprint | None) -> tuple[str, ...]:
    """How the calibration set differs from the traffic itself, whether that changes or not: a sentence a family."""
    if calibration is None:
        return ()
    return tuple(
        change(one.family, usual.fingerprint, calibration, "calibration", one.from_calibration, one.calibration_limit)
        for one in found
        if one.from_calibration is not None and one.calibration_limit is not None and one.from_calibration > one.calibration_limit
    )  # fmt: skip
