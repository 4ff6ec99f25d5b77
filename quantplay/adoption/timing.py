"""How long it takes from the start of a run to a locked package, month by month, and whether that changes. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from quantplay.records import Record
from quantplay.store.volume import Tried

LEAST_RUNS, LEAST_MONTHS = 10, 3  # for a trend; with ten the normal approximation below is good enough
SURE = 0.05


class Month(Record):
    """Runs that were locked in it, UTC."""

    month: str  # 2026-11
    locked: int
    median_hours: float


class Timing(Record):
    """Over all runs on record. Waiting for people and devices is in it; a package that was found locked already counts once."""

    locked: int
    median_hours: float | None
    slowest_hours: float | None
    months: tuple[Month, ...]
    trend: str  # a sentence


def timing(tried: Sequence[Tried]) -> Timing:
    """`tried`: oldest first."""
    first: dict[str, Tried] = {}
    for one in tried:
        if one.outcome == "locked" and one.package is not None and one.finished_at is not None:
            first.setdefault(one.package, one)
    locked = sorted(first.values(), key=lambda one: one.finished_at or one.started_at)
    hours = [((one.finished_at or one.started_at) - one.started_at).total_seconds() / 3600 for one in locked]
    months: dict[str, list[float]] = {}
    for one, took in zip(locked, hours, strict=True):
        months.setdefault(f"{one.finished_at:%Y-%m}", []).append(took)
    return Timing(
        locked=len(hours),
        median_hours=median(hours) if hours else None,
        slowest_hours=max(hours, default=None),
        months=tuple(
            Month(month=name, locked=len(took), median_hours=median(took)) for name, took in sorted(months.items())
        ),
        trend=trend_sentence(hours, len(months)),
    )


def trend_sentence(hours: Sequence[float], months: int) -> str:
    """`hours` in the order in which the runs were locked."""
    runs = f"{len(hours)} locked model{'' if len(hours) == 1 else 's'} in {months} month{'' if months == 1 else 's'}"
    if len(hours) < LEAST_RUNS or months < LEAST_MONTHS:
        return f"No trend is told from {runs}: it takes {LEAST_RUNS} in {LEAST_MONTHS} months."
    score, p = mann_kendall(hours)
    if p > SURE:
        return f"No trend can be told from chance, {runs} (p = {p:.2g})."
    return f"It takes {'longer' if score > 0 else 'less'} as time goes on, {runs} (p = {p:.2g})."


def mann_kendall(values: Sequence[float]) -> tuple[int, float]:
    """Score S (later above earlier, less later below earlier) and its two-sided p by the normal approximation, corrected for ties.

    H. B. Mann, Econometrica 13 (1945) 245-259; M. G. Kendall, Rank Correlation Methods (1970).
    """
    count = len(values)
    score = sum(
        (values[later] > values[earlier]) - (values[later] < values[earlier])
        for earlier in range(count)
        for later in range(earlier + 1, count)
    )
    ties = [sum(one == value for one in values) for value in set(values)]
    spread = (count * (count - 1) * (2 * count + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    if spread <= 0 or score == 0:
        return score, 1.0
    return score, math.erfc((abs(score) - 1) / math.sqrt(2 * spread))
