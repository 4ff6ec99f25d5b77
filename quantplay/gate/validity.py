"""How often the rule is wrong: simulated candidates with a known true drop, judged by the very rule of the gate.

The benchmark of the gate's validity is a table of calls to this.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from quantplay.gate.rule import PRECEDENCE, Quantity, judge, overall
from quantplay.records import Verdict
from quantplay.stats import ALPHA, score_drop


@dataclass(frozen=True, kw_only=True)
class World:
    """A candidate with a known drop, and the gate it meets. Shares, not points."""

    items: int  # a slice
    items_a_document: int | tuple[int, ...] = 1  # several: sizes that take turns
    correlation: float = 0.0  # between two items of one document: the chance that both follow the document's own draw
    flip_rate: float = 0.05  # share of items whose answer changes, at least |drop|
    drop: float | tuple[float, ...] = 0.0  # true drop, one for all slices or one each
    slices: int = 5
    max_drop: float = 0.03
    broken_drop: float = 0.06
    attempts: int = 1
    graded_levels: int = 0  # 0: right or wrong; n: a change has one of the sizes 1/n ... 1

    @property
    def drops(self) -> tuple[float, ...]:
        """True drop a slice."""
        return self.drop if isinstance(self.drop, tuple) else (self.drop,) * self.slices


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often each verdict came."""

    repeats: int
    counts: Counter[Verdict] = field(default_factory=Counter)

    def rate(self, *verdicts: Verdict) -> float:
        return sum(self.counts[verdict] for verdict in verdicts) / self.repeats

    def upper(self, *verdicts: Verdict, confidence: float = 0.95) -> float:
        """Exact one-sided upper confidence bound of the rate (Clopper and Pearson, Biometrika 26 (1934) 404-413)."""
        seen = sum(self.counts[verdict] for verdict in verdicts)
        return 1.0 if seen == self.repeats else float(betaincinv(seen + 1, self.repeats - seen, confidence))

    def lower(self, *verdicts: Verdict, confidence: float = 0.95) -> float:
        """Exact one-sided lower confidence bound of the rate."""
        others: tuple[Verdict, ...] = tuple(verdict for verdict in PRECEDENCE if verdict not in verdicts)
        return 1.0 - self.upper(*others, confidence=confidence)


def simulate(world: World, *, repeats: int, seed: int) -> Rates:
    """Judge `repeats` simulated candidates of `world`."""
    generator = np.random.default_rng(seed)
    documents = document_names(world)
    counts: Counter[Verdict] = Counter()
    for _ in range(repeats):
        quantities = [
            Quantity(
                drop=score_drop(
                    draw_differences(world, drop, documents, generator),
                    documents.tolist(),
                    graded=world.graded_levels > 0,
                    seed=int(generator.integers(2**31)),
                ),
                max_drop=world.max_drop,
                broken_drop=world.broken_drop,
            )
            for drop in world.drops
        ]
        counts[overall(item.verdict for item in judge(quantities, ALPHA / world.attempts))] += 1
    return Rates(repeats=repeats, counts=counts)


def document_names(world: World) -> NDArray[np.int64]:
    """Document of every item, shape (items,)."""
    sizes = np.atleast_1d(world.items_a_document)
    turns = world.items // sizes.sum() + 1
    numbers = np.arange(turns * len(sizes), dtype=np.int64)
    return np.repeat(numbers, np.tile(sizes, turns))[: world.items]


def draw_differences(
    world: World, drop: float, documents: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Baseline - candidate an item, shape (items,).

    Every document draws what happens to it (lost, won or nothing). An item follows with probability sqrt(correlation)
    and draws for itself otherwise, so two items of one document are correlated as asked and every item has the same rates.
    """
    mean_size = 1.0 if not world.graded_levels else (world.graded_levels + 1) / (2 * world.graded_levels)
    lost, won = (world.flip_rate + drop / mean_size) / 2, (world.flip_rate - drop / mean_size) / 2
    if won < 0 or lost + won > 1:
        raise ValueError(f"a drop of {drop} needs a flip rate between {abs(drop) / mean_size} and 1")

    def draw(count: int) -> NDArray[np.float64]:
        uniform = generator.random(count)
        return np.where(uniform < lost, 1.0, np.where(uniform < lost + won, -1.0, 0.0))

    own = draw(world.items)
    shared = draw(int(documents[-1]) + 1)[documents]
    follows = generator.random(world.items) < math.sqrt(world.correlation)
    signs = np.where(follows, shared, own)
    if not world.graded_levels:
        return signs
    return signs * generator.integers(1, world.graded_levels + 1, size=world.items) / world.graded_levels
