"""The bounds that decide for right or wrong answers: Tango's, never inside the exact ones of a model that only loses.

Tango's statistic is nearly normal except where almost every flip goes the same way and flips are few: then the net loss is
nearly binomial, skewed and on a coarse lattice. There Clopper and Pearson's bound of the net loss, which is exact when
nothing is won, lies further out and takes over; everywhere else flips in both directions make Tango's the wider one.
Enumerated over all tables: `python -m benchmarks.tango_oracle`.

Source: C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
Biometrika 26 (1934) 404-413. Counts may be fractions, as in paired.py; the binomial then becomes an incomplete beta.
"""

from __future__ import annotations

import math

from scipy.special import betainc, betaincinv, ndtr, ndtri

from quantplay.stats.paired import quantile, tango_statistic, tango_upper


def flip_upper(lost: float, won: float, items: float, level: float, degrees: float | None = None) -> float:
    """One-sided upper bound of the drop, in [-1, 1], at error rate `level`; `degrees` as in `quantile`."""
    tail = level if degrees is None else float(ndtr(-quantile(level, degrees)))
    return max(tango_upper(lost, won, items, level, degrees), net_upper(lost - won, items, tail))


def flip_lower(lost: float, won: float, items: float, level: float, degrees: float | None = None) -> float:
    """One-sided lower bound of the drop; the mirror image of `flip_upper`."""
    return -flip_upper(won, lost, items, level, degrees)


def flip_statistic(lost: float, won: float, items: float, drop: float) -> float:
    """Evidence that the true drop is below `drop` (in [-1, 1]), in standard deviations: the weaker of the two tests.

    `flip_upper` at a level is the drop at which this is that level's quantile.
    """
    return min(-tango_statistic(lost, won, items, drop), -float(ndtri(net_chance(lost - won, items, drop))))


def net_upper(net: float, items: float, tail: float) -> float:
    """Clopper and Pearson's upper bound of `net` losses (a negative one: net wins) in `items` where all flips go one way."""
    if net >= items:
        return 1.0
    if net >= 0:
        return float(betaincinv(net + 1, items - net, 1 - tail))
    return -float(betaincinv(-net, items + net + 1, tail))


def net_chance(net: float, items: float, drop: float) -> float:
    """Chance of at most `net` losses when the true drop is `drop` and all flips go one way; `net_upper` inverts it."""
    if drop >= 0:
        if net < 0 or net >= items:
            return 0.0 if net < 0 else 1.0
        return float(betainc(items - net, net + 1, 1 - drop))
    return 1.0 if net >= 0 else float(betainc(-net, items + net + 1, -drop))


def unseen_upper(estimate: float, documents: float, level: float) -> float:
    """Least upper bound of a drop of which `estimate` was seen in `documents`: some not seen may fail as a whole.

    Where nothing was lost up to 1 - level^(1 / documents) of all documents might be. Seeing losses adds to that; only a
    gain, a negative `estimate`, counts against it.
    """
    return min(estimate, 0.0) + net_upper(0, documents, level)


def unseen_documents(max_drop: float, level: float) -> float:
    """Documents with which `unseen_upper` of a drop of 0 comes down to `max_drop`."""
    return math.log(level) / math.log1p(-max_drop) if max_drop < 1 else 1.0
