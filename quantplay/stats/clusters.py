"""Items of one source document are not independent: how many independent items they are worth.

Counts are divided by a design effect and then used as if they were independent (J. N. K. Rao and A. J. Scott, A simple
method for the analysis of clustered binary data, Biometrics 48 (1992) 577-585), here on paired differences: the effect
is the between-cluster variance of the mean difference over the variance that independent items would have.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MADE_UP_CHANGES = 2.0
"""Changes of whole documents mixed into the estimate; with 1 damage at the tolerance passed in 5.7 % of simulations of 60
documents of 10 items at correlation 0.3, with 2 in 4.9 %."""


@dataclass(frozen=True, kw_only=True)
class ClusterSums:
    """Differences added up a cluster; both arrays have shape (clusters,)."""

    totals: NDArray[np.float64]  # sum of the differences
    sizes: NDArray[np.float64]  # items

    @property
    def clusters(self) -> int:
        return len(self.sizes)

    @property
    def items(self) -> float:
        return float(self.sizes.sum())

    @property
    def worst_effect(self) -> float:
        """Design effect when items of one document always change together: sum of squared sizes over items."""
        return float((self.sizes**2).sum() / self.sizes.sum())


def cluster_sums(differences: ArrayLike, clusters: Sequence[Hashable]) -> ClusterSums:
    """Sums a cluster of `differences` (items,); `clusters` names each item's document, in the same order."""
    values = np.asarray(differences, dtype=np.float64)
    numbers: dict[Hashable, int] = {}
    index = np.fromiter(
        (numbers.setdefault(name, len(numbers)) for name in clusters), dtype=np.int64, count=len(values)
    )
    return ClusterSums(
        totals=np.bincount(index, weights=values, minlength=len(numbers)).astype(np.float64),
        sizes=np.bincount(index, minlength=len(numbers)).astype(np.float64),
    )


def design_effect(differences: ArrayLike, clusters: Sequence[Hashable]) -> float:
    """How many dependent items are worth one independent item, at least 1; exactly 1 with one item a document.

    `MADE_UP_CHANGES` that took their whole document along are mixed in. Beside many changes they have no weight; with
    none they leave the worst case, since data without a change say nothing about whether changes come together. An
    estimate below 1 is not used: it would be luck, not information.
    """
    values = np.asarray(differences, dtype=np.float64)
    sums = cluster_sums(values, clusters)
    if sums.clusters == len(values):
        return 1.0
    if sums.clusters == 1:
        return sums.worst_effect
    mean = values.mean()
    between = ((sums.totals - sums.sizes * mean) ** 2).sum() * sums.clusters / (sums.clusters - 1)
    independent = ((values - mean) ** 2).sum() * len(values) / (len(values) - 1)
    return max(1.0, float((between + MADE_UP_CHANGES * sums.worst_effect) / (independent + MADE_UP_CHANGES)))
