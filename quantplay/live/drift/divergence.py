"""Jensen-Shannon divergence, and how large it gets between a day and what is usual while nothing changes.

A day is never one more draw from the same conversations: weekdays differ, topics come and go. So the usual days' own deviations are
the model. In square roots of shares, where distance is Hellinger's and sampling moves every bin alike, days lie around their centre like
a cloud; a day that did not change is the centre, plus a random mixture of the deviations seen (a smoothed bootstrap
of whole days), plus the sampling of its n conversations. The mixture is scaled as Student's t, because a few days tell only roughly how
wide the cloud is, and widened, because days resemble the days before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quantplay.live.drift.fingerprint import Array, Fingerprint

REPLICATES, BLOCK = 4000, 100
WIDENED = 2.0
"""Variance of a later day around the reference's centre, over what the reference's days show around it.

Days of which each resembles the one before with correlation 0.7 vary 0.67 times as much within two weeks as they do over the years, and
the mean of such weeks is off by 0.33 of that variance: (1 + 0.33) / 0.67. Independent days need 1.15.
"""
LEAST_FREEDOM = 3.0


def normalised(counts: Array) -> Array:
    """Shares along the last axis; zeros where there is nothing."""
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-300)


def divergence(p: Array, q: Array) -> Array:
    """Bits, 0 (the same) to 1 (nothing in common), along the last axis (Lin 1991). Counts or shares."""
    p, q = normalised(p), normalised(q)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(p > 0, p * np.log2(p / middle), 0) + np.where(q > 0, q * np.log2(q / middle), 0)
    return np.maximum(0.0, parts.sum(axis=-1) / 2)


def pooled(days: Sequence[Fingerprint], family: str) -> Array:
    """Counts of all days together, (bins,)."""
    return np.sum([day.bins(family) for day in days], axis=0)


def spread_of(days: Sequence[Fingerprint], kinds: Sequence[object], family: str) -> Array:
    """Deviations of days from the centre of their kind, (days, bins), in square roots of shares. One alone of its kind shows none."""
    counts = np.stack([day.bins(family) for day in days])
    found = np.zeros_like(counts)
    for kind in set(kinds):
        rows = [number for number, each in enumerate(kinds) if each == kind and counts[number].any()]
        if rows:
            found[rows] = np.sqrt(normalised(counts[rows])) - np.sqrt(normalised(counts[rows].sum(axis=0)))
    return found


def limit(centre: Array, spread: Array, sizes: tuple[float, float], chance: float, *, kinds: int = 1) -> float:
    """The divergence from `centre` that a day exceeds with probability `chance` while nothing changes.

    sizes: conversations of the day and of the centre; centre: counts, (bins,); spread: deviations of the reference's days, (days, bins);
    kinds: centres they were taken from. With one day nothing is known about days, and only sampling counts. Same input, same limit.
    """
    found = np.concatenate(list(unchanged(centre, spread, sizes, kinds)))
    return float(np.quantile(found, 1 - chance, method="higher"))


def unchanged(centre: Array, spread: Array, sizes: tuple[float, float], kinds: int) -> Iterator[Array]:
    """Divergences of `REPLICATES` days that did not change, `BLOCK` at a time."""
    dice = np.random.default_rng(0)
    free = len(spread) - kinds
    # Half a conversation more in every bin: what was not seen yet is rare, not impossible (Jeffreys' prior).
    middle = np.sqrt(normalised(centre + 0.5))
    size = 1 / sum(
        1 / max(1.0, each) for each in sizes
    )  # of one sample as far from a known centre as these are from each other
    for _ in range(REPLICATES // BLOCK):
        points = np.broadcast_to(middle, (BLOCK, len(centre)))
        if free > 0 and spread.any():
            freedom = max(LEAST_FREEDOM, free)
            scale = np.sqrt(WIDENED / free * freedom / dice.chisquare(freedom, (BLOCK, 1)))
            points = points + scale * (dice.standard_normal((BLOCK, len(spread))) @ spread)
        drawn = dice.poisson(size * normalised(np.square(np.maximum(0.0, points))))
        yield divergence(drawn.astype(float), centre)
