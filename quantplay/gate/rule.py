"""The decision rule itself, on numbers alone: upper bound, Holm-adjusted lower bound, verdict.

In this order: broken, pass, close, inconclusive. Passing is an intersection-union test, each quantity at the full
level (R. L. Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24 (1982) 295-300);
calling something broken is a union of tests, so it is adjusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantplay.records import Verdict
from quantplay.stats import Drop, holm_lower_bounds

PRECEDENCE: tuple[Verdict, ...] = ("broken", "close", "inconclusive", "pass")
"""Of a whole gate: the first of these that some quantity has. It passes only where every quantity does."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A drop and what the plan allows; all in the unit of the drop (shares or nats)."""

    drop: Drop
    max_drop: float
    broken_drop: float


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the rule says of one quantity."""

    verdict: Verdict
    upper: float
    lower_holm: float


def judge(quantities: Sequence[Quantity], level: float) -> tuple[Judged, ...]:
    """Verdicts of `quantities` at error rate `level`, in their order."""
    lowers = holm_lower_bounds([q.drop for q in quantities], [q.broken_drop for q in quantities], level)
    return tuple(judge_one(quantity, lower, level) for quantity, lower in zip(quantities, lowers, strict=True))


def judge_one(quantity: Quantity, lower_holm: float, level: float) -> Judged:
    upper = quantity.drop.upper(level)
    verdict: Verdict = "inconclusive"
    if lower_holm > quantity.broken_drop:
        verdict = "broken"
    elif upper <= quantity.max_drop:
        verdict = "pass"
    elif quantity.drop.estimate > quantity.max_drop:
        verdict = "close"
    return Judged(verdict=verdict, upper=upper, lower_holm=lower_holm)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Verdict of the whole gate from those of its quantities."""
    found = set(verdicts)
    return next(verdict for verdict in PRECEDENCE if verdict in found)
