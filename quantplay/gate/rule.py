"""The decision rule itself, on numbers alone: upper bound, Holm-adjusted lower bounds, verdict.

In this order: broken, pass, close, inconclusive. Passing is an intersection-union test, each quantity at the full
level (R. L. Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24 (1982) 295-300);
calling something broken or close is a union of tests, so these are adjusted. Close needs a loss that is evident in a
two-sided test, half the level: a candidate without loss is called close in at most that share of cases, however few items
there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantplay.records import Verdict
from quantplay.stats import Drop, holm_lower_bounds

RULES = 2
"""Version of the rule and its bounds: a decision is never looked up across two of them."""
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
    lower_holm: float  # against broken_drop
    lower_loss: float  # against no drop at all, two-sided


def judge(quantities: Sequence[Quantity], level: float) -> tuple[Judged, ...]:
    """Verdicts of `quantities` at error rate `level`, in their order."""
    drops = [q.drop for q in quantities]
    lowers = holm_lower_bounds(drops, [q.broken_drop for q in quantities], level)
    losses = holm_lower_bounds(drops, [0.0] * len(drops), level / 2)
    return tuple(judge_one(*parts, level) for parts in zip(quantities, lowers, losses, strict=True))


def judge_one(quantity: Quantity, lower_holm: float, lower_loss: float, level: float) -> Judged:
    upper = quantity.drop.upper(level)
    verdict: Verdict = "inconclusive"
    if lower_holm > quantity.broken_drop:
        verdict = "broken"
    elif upper <= quantity.max_drop:
        verdict = "pass"
    elif quantity.drop.estimate > quantity.max_drop and lower_loss > 0:
        verdict = "close"
    return Judged(verdict=verdict, upper=upper, lower_holm=lower_holm, lower_loss=lower_loss)


def items_needed(quantity: Quantity, level: float, quantities: int) -> float:
    """Items that would settle an inconclusive quantity, one of `quantities`; may be infinite.

    Within the tolerance: what a candidate like the one seen needs to pass. Beyond it: as many as it takes to tell a loss of
    `max_drop` from none, for which the lower bound is shared out among all quantities.
    """
    if quantity.drop.estimate > quantity.max_drop:
        return quantity.drop.items_to_tell(quantity.max_drop, level / 2 / quantities)
    return quantity.drop.items_to_pass(quantity.max_drop, level)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Verdict of the whole gate from those of its quantities."""
    found = set(verdicts)
    return next(verdict for verdict in PRECEDENCE if verdict in found)
