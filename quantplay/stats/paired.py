"""Tango's score bounds for the difference of two paired proportions, and McNemar's exact test beside them.

Both arms answer the same `items`: `lost` were right before and are wrong now, `won` the other way round, and the drop is
(lost - won) / items. The statistic takes its variance under the hypothesis tested, so the bounds stay honest when few
items or none flipped, where a Wald or bootstrap bound collapses. Counts may be fractions: a cluster-adjusted sample.

Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
design, Statistics in Medicine 17 (1998) 891-908.
"""

from __future__ import annotations

import math

from scipy.special import bdtr, ndtri, stdtrit

HALVINGS = 60  # of an interval no wider than 2: what is left is below the resolution of a float64 near 1


def tango_statistic(lost: float, won: float, items: float, drop: float) -> float:
    """Standardised distance of the observed drop from `drop` (in [-1, 1]); about N(0, 1) when `drop` is the truth.

    Falls from +inf to -inf as `drop` rises, and is 0 where the observed drop is `drop` itself.
    """
    distance = lost - won - items * drop
    # Restricted maximum-likelihood share of `won` given p_lost - p_won = drop: the larger root of a q^2 + b q + c = 0.
    a = 2 * items
    b = (2 * items - lost + won) * drop - lost - won
    c = -won * drop * (1 - drop)
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    # Two forms of the same root: each is used on the side where it doesn't cancel.
    share_won = -2 * c / (b + root) if b > 0 else (root - b) / (2 * a)
    variance = items * (2 * share_won + drop * (1 - drop))
    if variance > 0:
        return distance / math.sqrt(variance)
    return math.copysign(math.inf, distance) if distance else 0.0


def quantile(level: float, degrees: float | None = None) -> float:
    """One-sided critical value: standard normal, or Student's t where the variance has `degrees` of freedom."""
    return float(-ndtri(level) if degrees is None else -stdtrit(degrees, level))


def tango_upper(lost: float, won: float, items: float, level: float, degrees: float | None = None) -> float:
    """One-sided upper bound of the drop, in [-1, 1]: the smallest drop that is rejected at `level` as too large."""
    low, high, critical = (lost - won) / items, 1.0, quantile(level, degrees)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if tango_statistic(lost, won, items, middle) < -critical:
            high = middle
        else:
            low = middle
    return high


def tango_lower(lost: float, won: float, items: float, level: float, degrees: float | None = None) -> float:
    """One-sided lower bound of the drop, in [-1, 1]; the mirror image of `tango_upper`."""
    return -tango_upper(won, lost, items, level, degrees)


def tango_interval(lost: float, won: float, items: float, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of the drop; each tail holds (1 - confidence) / 2."""
    tail = (1 - confidence) / 2
    return tango_lower(lost, won, items, tail), tango_upper(lost, won, items, tail)


def mcnemar_exact(lost: int, won: int) -> float:
    """Two-sided exact p of equally likely flips, given lost + won flips: twice the smaller binomial tail, at most 1.

    Source: Q. McNemar, Psychometrika 12 (1947) 153-157, in its exact binomial form. Descriptive here.
    """
    flips = lost + won
    return 1.0 if flips == 0 else min(1.0, 2 * float(bdtr(min(lost, won), flips, 0.5)))


def minimum_detectable_drop(items: float, flip_rate: float, level: float = 0.05, power: float = 0.8) -> float:
    """Smallest true drop that a one-sided paired test at `level` finds with probability `power`; a share, not points.

    (z_{1-level} + z_{power}) * sqrt(flip rate / items).
    """
    return (quantile(level) + quantile(1 - power)) * math.sqrt(flip_rate / items)
