"""Clustered paired bootstrap-t for means of graded differences (scores in parts, losses in nats).

Whole documents are drawn with replacement; each resample is standardised by its own standard error, which follows
skewed differences where a normal bound does not. Source: B. Efron and R. J. Tibshirani, An Introduction to the
Bootstrap (1993), chapter 12.5; resampling clusters: A. C. Davison and D. V. Hinkley, Bootstrap Methods and their
Application (1997), section 3.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantplay.stats.clusters import ClusterSums

RESAMPLES = 9_999
BLOCK = 2_000_000  # draws at a time: 16 MB


@dataclass(frozen=True, kw_only=True)
class BootstrapT:
    """A mean difference with its resampled t statistics; bounds in the unit of the differences."""

    estimate: float
    standard_error: float
    statistics: NDArray[np.float64]  # (resamples,), ascending

    def upper(self, level: float) -> float:
        """One-sided upper bound, never below the estimate."""
        return max(self.estimate, self.estimate - self.standard_error * float(self.statistics[self._tail(level) - 1]))

    def lower(self, level: float) -> float:
        """One-sided lower bound, never above the estimate."""
        return min(self.estimate, self.estimate - self.standard_error * float(self.statistics[-self._tail(level)]))

    def p_above(self, threshold: float) -> float:
        """One-sided p of "the mean is at most `threshold`"."""
        if self.standard_error == 0:
            return 0.0 if self.estimate > threshold else 1.0
        observed = (self.estimate - threshold) / self.standard_error
        at_least = len(self.statistics) - int(np.searchsorted(self.statistics, observed, side="left"))
        return (at_least + 1) / (len(self.statistics) + 1)

    def _tail(self, level: float) -> int:
        """How many resamples lie in a tail of `level`; at least the most extreme one."""
        return max(1, math.floor(level * (len(self.statistics) + 1) + 1e-9))


def bootstrap_t(sums: ClusterSums, *, scale: float, seed: int, resamples: int = RESAMPLES) -> BootstrapT:
    """Bootstrap the mean of all items from their sums a document; needs at least 2 documents (ValueError).

    `scale` is the largest difference one item can show. The variance of one more change of that size is added to every
    squared standard error, so that resamples without any change neither divide by zero nor look certain.
    """
    count = sums.clusters
    if count < 2:
        raise ValueError(f"a bootstrap over documents needs at least 2 of them, got {count}")
    items = sums.items
    estimate = float(sums.totals.sum()) / items
    residuals = sums.totals - sums.sizes * estimate
    one_more = (scale * float(sums.sizes.max()) / items) ** 2
    correction = count / (count - 1)
    standard_error = math.sqrt(correction * float((residuals**2).sum()) / items**2 + one_more)
    if standard_error == 0:
        return BootstrapT(estimate=estimate, standard_error=0.0, statistics=np.zeros(resamples))
    generator = np.random.default_rng(seed)
    equal = bool((sums.sizes == sums.sizes[0]).all())
    statistics = []
    left = resamples
    while left:
        rows = min(left, max(1, BLOCK // count))
        drawn = generator.integers(count, size=(rows, count), dtype=np.int32)
        residual = residuals[drawn]
        size = np.broadcast_to(sums.sizes[0], (rows, count)) if equal else sums.sizes[drawn]
        total_size = np.full(rows, items) if equal else size.sum(axis=1)
        shift = residual.sum(axis=1) / total_size  # mean of the resample minus the estimate
        residual -= size * shift[:, None]
        squares = np.einsum("ij,ij->i", residual, residual)
        statistics.append(shift / np.sqrt(correction * squares / total_size**2 + one_more))
        left -= rows
    return BootstrapT(estimate=estimate, standard_error=standard_error, statistics=np.sort(np.concatenate(statistics)))
