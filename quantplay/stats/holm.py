"""Holm's step-down turned into one lower bound a quantity.

Each quantity is tested against its own threshold ("the drop is at most this"). In ascending order of p the r-th of m is
tested at level / (m - r + 1), until one is not rejected; from there on nothing is. The bound of a quantity is its
one-sided lower bound at the level of its own step, or of the step where the procedure stopped, so "bound > threshold"
says exactly what Holm's test says, and the chance that any of them says so wrongly is at most `level`.

Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979)
65-70. The bounds reproduce the test; together they are no simultaneous confidence region.
"""

from __future__ import annotations

from collections.abc import Sequence

from quantplay.stats.drops import Drop


def holm_lower_bounds(drops: Sequence[Drop], thresholds: Sequence[float], level: float) -> tuple[float, ...]:
    """Lower bounds of `drops` in their order; each exceeds its threshold exactly where Holm's test at `level` rejects."""
    chances = [drop.p_above(threshold) for drop, threshold in zip(drops, thresholds, strict=True)]
    bounds = [0.0] * len(drops)
    remaining = len(drops)
    stopped = False
    for index in sorted(range(len(drops)), key=chances.__getitem__):
        bounds[index] = drops[index].lower(level / remaining)
        if stopped:
            # Its p is no smaller than the one that stopped, so this only cuts off rounding.
            bounds[index] = min(bounds[index], thresholds[index])
        elif bounds[index] > thresholds[index]:
            remaining -= 1
        else:
            stopped = True
    return tuple(bounds)
