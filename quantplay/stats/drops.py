"""One gated quantity: how much worse the candidate is, with one-sided bounds. Positive is worse.

Three kinds share one shape: right or wrong answers, graded answers, and the loss of the expected answer.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, stdtr

from quantplay.stats.bootstrap import BootstrapT, bootstrap_t
from quantplay.stats.clusters import cluster_sums, design_effect
from quantplay.stats.flips import flip_lower, flip_statistic, flip_upper, unseen_documents, unseen_upper
from quantplay.stats.paired import quantile
from quantplay.stats.power import items_to_settle


class Drop(Protocol):
    """What the gate asks of a quantity; in shares of 1 for scores, in nats for losses."""

    @property
    def items(self) -> int: ...
    @property
    def clusters(self) -> int: ...
    @property
    def estimate(self) -> float: ...
    def upper(self, level: float) -> float:
        """One-sided upper bound at error rate `level`."""
        ...

    def lower(self, level: float) -> float:
        """One-sided lower bound at error rate `level`."""
        ...

    def p_above(self, threshold: float) -> float:
        """One-sided p of "the true drop is at most `threshold`"."""
        ...

    def items_to_pass(self, threshold: float, level: float, power: float = 0.9) -> float:
        """Items with which a candidate like the one seen would pass with probability `power`; may be infinite.

        "Like the one seen": the same rates of change, and a drop as observed or 0 where it got better.
        """
        ...

    def items_to_tell(self, threshold: float, level: float, power: float = 0.9) -> float:
        """Items with which a lossless candidate that changes as many answers would pass with probability `power`."""
        ...


@dataclass(frozen=True, kw_only=True)
class FlipDrop:
    """Right or wrong answers: score bounds on counts divided by the design effect of the documents."""

    items: int
    clusters: int
    lost: int
    won: int
    effect: float = 1.0  # items worth one independent item
    whole_effect: float = 1.0  # the same, did every document change as one

    @property
    def estimate(self) -> float:
        return (self.lost - self.won) / self.items

    @property
    def degrees(self) -> int | None:
        """Degrees of freedom of the estimated design effect; None where nothing had to be estimated."""
        return None if self.clusters == self.items else self.clusters - 1

    @property
    def _sample(self) -> tuple[float, float, float]:
        return self.lost / self.effect, self.won / self.effect, self.items / self.effect

    def upper(self, level: float) -> float:
        if self.degrees == 0:
            return 1.0
        bound = flip_upper(*self._sample, level, self.degrees)
        if self.degrees is None:
            return bound
        return min(1.0, max(bound, unseen_upper(self.estimate, self.items / self.whole_effect, level)))

    def lower(self, level: float) -> float:
        return -1.0 if self.degrees == 0 else flip_lower(*self._sample, level, self.degrees)

    def p_above(self, threshold: float) -> float:
        if self.degrees == 0 or threshold >= 1:
            return 1.0
        lost, won, items = self._sample
        statistic = flip_statistic(won, lost, items, -max(threshold, -1.0))
        return float(ndtr(-statistic) if self.degrees is None else stdtr(self.degrees, -statistic))

    def items_to_pass(self, threshold: float, level: float, power: float = 0.9) -> float:
        lost, won = self.lost / self.items, self.won / self.items
        if won > lost:
            lost = won = (lost + won) / 2
        return self._items_for(lost, won, threshold, level, power)

    def items_to_tell(self, threshold: float, level: float, power: float = 0.9) -> float:
        half = (self.lost + self.won) / self.items / 2
        return self._items_for(half, half, threshold, level, power)

    def _items_for(self, lost: float, won: float, threshold: float, level: float, power: float) -> float:
        settled = self.effect * items_to_settle(lost, won, threshold, power=power, level=level)
        return max(settled, self.whole_effect * unseen_documents(threshold, level))


@dataclass(frozen=True, kw_only=True)
class GradedDrop:
    """Scores in parts: bootstrap-t, each side at least as far out as the score bound of "item changed".

    `changed` counts an item as lost or won whatever the size of its change: an item not yet seen may lose everything.
    """

    changed: FlipDrop
    mean: float
    bootstrap: BootstrapT | None  # None with a single document: then there is no bound inside [-1, 1]

    @property
    def items(self) -> int:
        return self.changed.items

    @property
    def clusters(self) -> int:
        return self.changed.clusters

    @property
    def estimate(self) -> float:
        return self.mean

    def upper(self, level: float) -> float:
        if self.bootstrap is None:
            return 1.0
        floor = self.mean + self.changed.upper(level) - self.changed.estimate
        return min(1.0, max(self.bootstrap.upper(level), floor))

    def lower(self, level: float) -> float:
        if self.bootstrap is None:
            return -1.0
        floor = self.mean + self.changed.lower(level) - self.changed.estimate
        return max(-1.0, min(self.bootstrap.lower(level), floor))

    def p_above(self, threshold: float) -> float:
        if self.bootstrap is None:
            return 1.0
        floor = self.changed.p_above(threshold - self.mean + self.changed.estimate)
        return max(self.bootstrap.p_above(threshold), floor)

    def items_to_pass(self, threshold: float, level: float, power: float = 0.9) -> float:
        return scaled_items(self, max(self.estimate, 0.0), threshold, level, power)

    def items_to_tell(self, threshold: float, level: float, power: float = 0.9) -> float:
        return scaled_items(self, 0.0, threshold, level, power)


@dataclass(frozen=True, kw_only=True)
class LossRise:
    """Mean rise of the expected answer's loss, in nats a token: bootstrap-t over documents."""

    items: int
    clusters: int
    bootstrap: BootstrapT

    @property
    def estimate(self) -> float:
        return self.bootstrap.estimate

    def upper(self, level: float) -> float:
        return self.bootstrap.upper(level)

    def lower(self, level: float) -> float:
        return self.bootstrap.lower(level)

    def p_above(self, threshold: float) -> float:
        return self.bootstrap.p_above(threshold)

    def items_to_pass(self, threshold: float, level: float, power: float = 0.9) -> float:
        return scaled_items(self, max(self.estimate, 0.0), threshold, level, power)

    def items_to_tell(self, threshold: float, level: float, power: float = 0.9) -> float:
        return scaled_items(self, 0.0, threshold, level, power)


def score_drop(differences: ArrayLike, clusters: Sequence[Hashable], *, graded: bool = False, seed: int = 0) -> Drop:
    """Drop of a slice from `differences` (items,) = baseline - candidate score, each in [-1, 1].

    `clusters` names each item's document. Differences other than -1, 0 and 1 need `graded` (ValueError).
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or len(values) != len(clusters):
        raise ValueError(f"need one difference and one document an item, got {values.shape} and {len(clusters)}")
    if not np.all(np.abs(values) <= 1):
        raise ValueError("differences of scores lie in [-1, 1]")
    signs = np.sign(values)
    if not graded and not np.array_equal(signs, values):
        raise ValueError("differences other than -1, 0 and 1 are graded")
    sums = cluster_sums(values, clusters)
    changed = FlipDrop(
        items=len(values),
        clusters=sums.clusters,
        lost=int((signs > 0).sum()),
        won=int((signs < 0).sum()),
        effect=design_effect(signs, clusters),
        whole_effect=sums.worst_effect,
    )
    if not graded:
        return changed
    bootstrap = bootstrap_t(sums, scale=1.0, seed=seed) if sums.clusters > 1 else None
    return GradedDrop(changed=changed, mean=float(values.mean()), bootstrap=bootstrap)


def loss_rise(differences: ArrayLike, clusters: Sequence[Hashable], *, seed: int = 0) -> LossRise:
    """Rise of the loss from `differences` (items,) = candidate - baseline, in nats; at least 2 documents (ValueError)."""
    values = np.asarray(differences, dtype=np.float64)
    sums = cluster_sums(values, clusters)
    worst_seen = float(np.abs(values).max(initial=0.0))  # a loss has no upper end: one more like the worst one seen
    return LossRise(items=len(values), clusters=sums.clusters, bootstrap=bootstrap_t(sums, scale=worst_seen, seed=seed))


def scaled_items(drop: Drop, assumed: float, threshold: float, level: float, power: float) -> float:
    """Items by the square-root law from the half-width seen, were the drop as `assumed`.

    n * (h * (1 + z_power / z_{1-level}) / room)^2, room = threshold - assumed.
    """
    room = threshold - assumed
    if room <= 0:
        return math.inf
    half_width = drop.upper(level) - drop.estimate
    return drop.items * (half_width * (1 + quantile(1 - power) / quantile(level)) / room) ** 2
