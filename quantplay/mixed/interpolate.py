"""Estimates from few sequences and from two types: pure arithmetic.

Few sequences: the damage y of a group on some sequences is scaled by how hard those sequences are, told by the all-low model's
damage x, which is known on all of them: mean(y)/mean(x) on the few, times mean(x) on all. This is the ratio estimator in two phases
(Cochran, Sampling Techniques, 3rd ed., 12.8).

Types: near full precision damage is a quadratic form of the weights' error, so that log damage is nearly a line over log error. How far
a single group is off that line for a single type shows on very few sequences already: a glance, compared with the anchors on the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SMALLEST = 1e-12  # nats; below it float32 has nothing to say
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error."""

    mean: float
    se: float
    own: float = 0.0  # the part of `se` that more sequences for this one figure would take away

    @property
    def relative(self) -> float:
        return self.se / self.mean if self.mean > 0 else math.inf


def estimate(some: Sequence[float], hardness: Sequence[float]) -> Estimate:
    """Mean over all sequences of what is known on the first len(some) >= 2 of them; hardness: the all-low damage of all."""
    y, x = np.asarray(some, np.float64), np.asarray(hardness, np.float64)
    few, n, total = x[: len(y)], len(y), len(x)
    if n == total or few.mean() <= SMALLEST:
        return Estimate(float(y.mean()), float(y.std(ddof=1) / n**0.5))
    ratio = y.mean() / few.mean()
    first = (y - ratio * few).var(ddof=1) / n
    second = ratio**2 * x.var(ddof=1) / total
    return Estimate(float(ratio * x.mean()), float((first + second) ** 0.5), float(first**0.5))


def interval(found: Estimate, sequences: int) -> tuple[float, float]:
    """95 % interval of a mean that can't be negative: Student's t on the logarithm."""
    from scipy.stats import t

    if found.mean <= SMALLEST:
        return 0.0, max(0.0, found.mean + 2 * found.se)
    spread = float(t.ppf(0.5 + CONFIDENCE / 2, max(1, sequences - 1))) * found.relative
    return found.mean * math.exp(-spread), found.mean * math.exp(min(spread, 50.0))


def between(low: Estimate, low_error: float, high: Estimate, high_error: float, error: float) -> Estimate:
    """Damage at rounding error `error`, on the line through two measured types in the logarithms of both.

    Beyond the anchors, or where they have one error, damage is proportional to the error. The anchors' errors are taken as
    wholly dependent: they come from the same sequences.
    """
    if min(low.mean, high.mean) <= SMALLEST or min(low_error, high_error, error) <= 0:
        nearest = low if abs(error - low_error) < abs(error - high_error) else high
        return nearest if error > 0 else Estimate(0.0, 0.0)
    width = math.log(low_error / high_error)
    if not min(low_error, high_error) <= error <= max(low_error, high_error) or abs(width) < 1e-6:
        near, near_error = (
            (low, low_error)
            if abs(math.log(error / low_error)) < abs(math.log(error / high_error))
            else (high, high_error)
        )
        factor = error / near_error
        return Estimate(near.mean * factor, near.se * factor)
    share = math.log(error / high_error) / width  # 0 at the high type, 1 at the low one
    mean = math.exp(math.log(high.mean) + share * math.log(low.mean / high.mean))
    return Estimate(mean, mean * ((1 - share) * high.relative + share * low.relative))


def glanced(glance: Estimate, low: tuple[Estimate, Estimate], high: tuple[Estimate, Estimate], share: float) -> float:
    """Damage from a glance at very few sequences, scaled by what the anchors' glances are of their figures.

    low, high: the anchor's figure and its mean on the glance's sequences. share: 0 at the high type, 1 at the low one.
    """
    scale = [math.log(max(figure.mean, SMALLEST) / max(seen.mean, SMALLEST)) for figure, seen in (high, low)]
    return max(glance.mean, SMALLEST) * math.exp((1 - share) * scale[0] + share * scale[1])


@dataclass(frozen=True)
class Checked:
    """A figure known in three ways."""

    kind: str
    line: float  # interpolated between the anchors
    glance: float  # from a glance
    measured: float


@dataclass(frozen=True)
class Blend:
    """How line and glance are put together, as the checks say; in logarithms."""

    weight: float  # of the glance
    offsets: dict[str, float]  # by kind, added
    spread: float  # what is left of error

    def of(self, kind: str, line: float, glance: float) -> float:
        logs = self.weight * math.log(max(glance, SMALLEST)) + (1 - self.weight) * math.log(max(line, SMALLEST))
        return math.exp(logs + self.offsets.get(kind, 0.0))


def blend(checks: Sequence[Checked]) -> Blend:
    """The weight that fits the checks best (least squares, with four checks that say one half), then each kind's mean error.

    Every kind counts one more check without error, so that a single one is not believed wholly.
    """
    known = [one for one in checks if min(one.line, one.glance, one.measured) > SMALLEST]
    if not known:
        return Blend(0.5, {}, 0.0)
    away = np.array([math.log(one.glance / one.line) for one in known])
    wanted = np.array([math.log(one.measured / one.line) for one in known])
    prior = 4 * float(np.mean(away**2)) + 1e-12
    weight = float(np.clip((away @ wanted + 0.5 * prior) / (away @ away + prior), 0, 1))
    left = wanted - weight * away
    by_kind: dict[str, list[float]] = {}
    for one, error in zip(known, left, strict=True):
        by_kind.setdefault(one.kind, []).append(float(error))
    offsets = {kind: sum(errors) / (len(errors) + 1) for kind, errors in sorted(by_kind.items())}
    return Blend(weight, offsets, float(np.sqrt(np.mean(left**2))))


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where either side does not vary."""
    from scipy.stats import rankdata

    a, b = rankdata(first), rankdata(second)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
