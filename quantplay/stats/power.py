"""What a gate can tell before anything ran: the chance that a lossless candidate passes, and the items that takes.

A lossless candidate still flips items, as often for the better as for the worse. With `flip_rate` f the number of flips
is Binomial(items, f) and the losses among them Binomial(flips, 1/2), so the chance to pass the gate's test is a sum, not a
simulation.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, gammaln, ndtr, xlog1py, xlogy

from quantplay.stats.flips import flip_statistic, unseen_upper
from quantplay.stats.paired import quantile, tango_statistic

PLANNING_CORRELATION = 0.2
"""Correlation of two items of one document assumed while planning; the decision estimates it from the data."""
TAILS = 9.0  # standard deviations of the number of flips summed on each side: what is left out is below 1e-15
LARGEST_PLAN = 10_000_000  # items; more is no plan


def effective_items(items: int, clusters: int) -> float:
    """Independent items that `items` in `clusters` equal documents are worth under `PLANNING_CORRELATION`.

    Design effect 1 + (m - 1) * rho, m items a document: L. Kish, Survey Sampling (1965), section 5.4.
    """
    return items / (1 + (items / clusters - 1) * PLANNING_CORRELATION)


def pass_probability(
    items: int, max_drop: float, flip_rate: float, *, level: float = 0.05, clusters: int | None = None
) -> float:
    """Probability that a lossless candidate's one-sided upper bound at `level` is at most `max_drop` (a share).

    Exact for independent items. With fewer `clusters` than items the effective number of items takes their place,
    rounded down, and Student's t with clusters - 1 degrees that of the normal, as in the decision; so does the bound that
    holds for documents not seen.
    """
    degrees, unseen = None, 0.0
    if clusters is not None and clusters < items:
        if clusters < 2:
            return 0.0
        items, degrees = math.floor(effective_items(items, clusters)), clusters - 1
        unseen = unseen_upper(0.0, clusters, level) - max_drop
    if items < 1:
        return 0.0
    centre = items * flip_rate
    spread = TAILS * math.sqrt(centre * (1 - flip_rate)) + 2 * TAILS
    flips = np.arange(max(0, math.floor(centre - spread)), min(items, math.ceil(centre + spread)) + 1)
    most = most_losses(flips, items, max_drop, quantile(level, degrees))
    most = np.minimum(most, np.where(unseen > 0, np.floor((flips - unseen * items) / 2), flips))
    chance = np.exp(
        gammaln(items + 1)
        - gammaln(flips + 1)
        - gammaln(items - flips + 1)
        + xlogy(flips, flip_rate)
        + xlog1py(items - flips, -flip_rate)
    )
    passing = np.where(most < 0, 0.0, bdtr(np.maximum(most, 0).astype(np.float64), flips, 0.5))
    return min(1.0, float((chance * passing).sum()))


def most_losses(flips: NDArray[np.int64], items: int, max_drop: float, critical: float) -> NDArray[np.int64]:
    """Largest number of losses that still passes, for each of the consecutive numbers `flips`; -1 where not even 0.

    One flip more allows the same number of losses or one more, so a single walk finds them all.
    """

    def passes(lost: int, won: int) -> bool:
        return flip_statistic(lost, won, items, max_drop) >= critical

    most = np.empty(len(flips), dtype=np.int64)
    low, high = -1, int(flips[0]) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(middle, int(flips[0]) - middle) else (low, middle)
    for position, count in enumerate(flips):
        if low < count and passes(low + 1, int(count) - low - 1):
            low += 1
        most[position] = low
    return most


def items_for(
    max_drop: float, flip_rate: float, *, power: float = 0.9, level: float = 0.05, items_a_cluster: float = 1.0
) -> int | None:
    """Fewest items with which a lossless candidate passes with probability `power`; None beyond `LARGEST_PLAN`."""

    def enough(items: int) -> bool:
        clusters = None if items_a_cluster <= 1 else max(1, round(items / items_a_cluster))
        return pass_probability(items, max_drop, flip_rate, level=level, clusters=clusters) >= power

    low, high = 0, 64
    while not enough(high):
        low, high = high, 2 * high
        if high > LARGEST_PLAN:
            return None
    while high - low > max(1, high // 500):  # the exact chance has small teeth; a finer search would chase one
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def items_to_settle(
    lost_share: float, won_share: float, max_drop: float, *, power: float = 0.9, level: float = 0.05
) -> float:
    """Independent items with which a candidate of exactly these shares would pass with probability `power`.

    Normal approximation of the same test: sqrt(n) = (z_{1-level} s0 + z_power s1) / (max_drop - drop), with the
    standard deviation s0 under the tolerance and s1 under the shares. Infinite when the drop is not below `max_drop`.
    """
    drop = lost_share - won_share
    if drop >= max_drop:
        return math.inf
    statistic = tango_statistic(lost_share, won_share, 1.0, max_drop)
    under_tolerance = (max_drop - drop) / -statistic
    under_shares = math.sqrt(max(lost_share + won_share - drop * drop, 0))
    return ((quantile(level) * under_tolerance + quantile(1 - power) * under_shares) / (max_drop - drop)) ** 2


def normal_pass_probability(items: float, max_drop: float, flip_rate: float, *, level: float = 0.05) -> float:
    """The textbook approximation of `pass_probability`, for checking orders of magnitude by hand."""
    return float(ndtr(max_drop / math.sqrt(flip_rate / items) - quantile(level)))
