"""Are the bounds of right or wrong answers what they say? `python -m benchmarks.tango_oracle [--quick]`

1. Tango's bounds beside a search that knows no algebra: the restricted likelihood is climbed by bisection of its slope, the
   score test inverted by another. Every table of up to 12 items, and random tables of up to 5,000. Beside statsmodels'
   McNemar test, which is the same statistic at a drop of 0, and beside published intervals.
2. What the bounds are worth: over every possible table, how often each misses a true drop; Tango's alone, and as the gate
   uses them (quantplay/stats/flips.py).

Promises: no bound further than 1e-6 from the search; published digits reproduced; the gate's upper bound at 5 % misses in at
most 6 %, the lower in at most 8 %. `--quick`: fewer items and tables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import multinomial, norm

from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay.stats import flip_statistic, tango_interval, tango_lower, tango_statistic, tango_upper

Array = NDArray[np.float64]
LEVELS = (0.1, 0.05, 0.025, 0.05 / 6, 0.001)
STEPS = 50  # halvings of an interval no wider than 2: below 2e-15
LEVEL = 0.05
DROPS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.052, 0.06, 0.08, 0.1, 0.12, 0.15)
WON = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15)
"""True share of won items beside each true drop."""
PUBLISHED = (
    # lost, won, items, confidence, low, high, digits. The first five are quoted in the tests of the R package ratesci
    # (P. Laud, tests/testthat/test3.R), which names the papers; tables are (both right, lost, won, both wrong).
    ("Tango 1998: 43 0 1 0", 0, 1, 44, 0.90, -0.096, 0.037, 3),
    ("Tango's method: 4 9 3 16", 9, 3, 32, 0.95, -0.027, 0.390, 3),
    ("Agresti and Min 2005: 53 16 8 9", 16, 8, 86, 0.95, -0.020, 0.207, 3),
    ("Tang et al. 2010: 8 3 1 2", 3, 1, 14, 0.95, -0.1670, 0.4327, 4),
    ("Chang 2024: 7 25 2 68", 25, 2, 102, 0.95, 0.139, 0.321, 3),
    # M. Fagerland, S. Lydersen and P. Laake, Statistical Analysis of Contingency Tables (2017), chapter 8.
    ("Bentur et al. 2009: 1 1 7 12", 1, 7, 21, 0.95, -0.517, -0.026, 3),
)


@dataclass(frozen=True)
class Tables:
    """Columns of equal length: lost, won, items, error rate."""

    lost: Array
    won: Array
    items: Array
    level: Array

    def __len__(self) -> int:
        return len(self.lost)

    def rows(self) -> Iterator[tuple[float, float, float, float]]:
        return zip(*(column.tolist() for column in (self.lost, self.won, self.items, self.level)), strict=True)


def all_tables(largest: int) -> Tables:
    """Every table of 1 to `largest` items, at every level."""
    rows = [
        (lost, won, items, level)
        for items in range(1, largest + 1)
        for lost in range(items + 1)
        for won in range(items - lost + 1)
        for level in LEVELS
    ]
    return Tables(*np.array(rows, dtype=np.float64).T)


def random_tables(count: int, seed: int) -> Tables:
    """Few flips and many, even and one-sided; 1 to 5,000 items, small numbers as often as large ones."""
    generator = np.random.default_rng(seed)
    items = np.ceil(np.exp(generator.uniform(0, np.log(5000), count)))
    flips = generator.binomial(items.astype(np.int64), generator.uniform(0, 1, count) ** 3)
    lost = generator.binomial(flips, generator.uniform(0, 1, count))
    return Tables(lost.astype(float), (flips - lost).astype(float), items, generator.choice(LEVELS, count))


def climbed_share(lost: Array, won: Array, items: Array, drop: Array) -> Array:
    """Share of won items that maximises the likelihood of the table when the drop is `drop`: where its slope turns.

    log L(q) = lost log(q + drop) + won log q + rest log(1 - 2 q - drop), concave in q.
    """
    low, high = np.maximum(0.0, -drop), (1 - drop) / 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = lost / (middle + drop) + won / middle - 2 * (items - lost - won) / (1 - 2 * middle - drop)
        rises = slope > 0
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    return (low + high) / 2


def searched_upper(tables: Tables) -> Array:
    """Largest drop not rejected at the tables' level."""
    lost, won, items = tables.lost, tables.won, tables.items
    critical = norm.isf(tables.level)
    low, high = (lost - won) / items, np.ones(len(tables))
    for _ in range(STEPS):
        drop = (low + high) / 2
        share = climbed_share(lost, won, items, drop)
        deviation = np.sqrt(np.maximum(items * (2 * share + drop * (1 - drop)), 0))
        rejected = items * drop - (lost - won) > critical * deviation
        low, high = np.where(rejected, low, drop), np.where(rejected, drop, high)
    return high


def largest_difference(tables: Tables) -> float:
    """Of both bounds of all tables."""
    mirrored = Tables(tables.won, tables.lost, tables.items, tables.level)
    upper = np.array([tango_upper(*row) for row in tables.rows()])
    lower = np.array([tango_lower(*row) for row in tables.rows()])
    return float(max(np.abs(upper - searched_upper(tables)).max(), np.abs(lower + searched_upper(mirrored)).max(), 0.0))


def mcnemar_difference(tables: Tables) -> float:
    """Relative, of the squared statistic at a drop of 0 from statsmodels' McNemar statistic."""
    from statsmodels.stats.contingency_tables import mcnemar

    worst = 0.0
    for lost, won, items, _ in tables.rows():
        if lost != won:
            theirs = mcnemar([[items - lost - won, lost], [won, 0]], exact=False, correction=False).statistic
            worst = max(worst, abs(tango_statistic(lost, won, items, 0.0) ** 2 / theirs - 1))
    return worst


def miss_rates(items: int) -> dict[str, tuple[float, float, float]]:
    """Bound -> (largest chance to miss the truth, with which drop and share of won items), over `DROPS` and `WON`.

    Exact: every table of `items` with its probability. A bound misses a drop where its test rejects that drop.
    """
    critical = float(norm.isf(LEVEL))
    tables = [(lost, won) for lost in range(items + 1) for won in range(items - lost + 1)]
    counts = np.array([(lost, won, items - lost - won) for lost, won in tables])

    def evidence(statistic: Callable[[int, int], float]) -> NDArray[np.bool_]:
        return np.array([statistic(lost, won) >= critical for lost, won in tables])

    worst = dict.fromkeys(("Tango, upper", "Tango, lower", "gate, upper", "gate, lower"), (0.0, 0.0, 0.0))
    for drop in DROPS:
        missed = {
            "Tango, upper": evidence(lambda b, c, d=drop: -tango_statistic(b, c, items, d)),
            "Tango, lower": evidence(lambda b, c, d=drop: tango_statistic(b, c, items, d)),
            "gate, upper": evidence(lambda b, c, d=drop: flip_statistic(b, c, items, d)),
            "gate, lower": evidence(lambda b, c, d=drop: flip_statistic(c, b, items, -d)),
        }
        for won in WON:
            chances = multinomial.pmf(counts, items, (won + drop, won, 1 - 2 * won - drop))
            for name, misses in missed.items():
                worst[name] = max(worst[name], (float(chances[misses].sum()), drop, won))
    return worst


def main() -> int:
    quick = quick_asked()
    exhaustive, drawn = all_tables(12), random_tables(2_000 if quick else 20_000, seed=1)
    rows = [
        ("all tables of 1 to 12 items", len(exhaustive), largest_difference(exhaustive)),
        ("random tables of 1 to 5,000 items", len(drawn), largest_difference(drawn)),
    ]
    print_table(("tables and levels", "number", "largest difference"), rows)
    mcnemar = mcnemar_difference(drawn)
    print(f"at a drop of 0 from statsmodels' McNemar statistic: {mcnemar:.2g}, relative\n")

    published = []
    for name, lost, won, items, confidence, low, high, digits in PUBLISHED:
        ours = tango_interval(lost, won, items, confidence)
        off = max(abs(ours[0] - low), abs(ours[1] - high)) * 10**digits  # of the last digit; rounding explains a half
        published.append((name, f"{low} to {high}", f"{ours[0]:.4f} to {ours[1]:.4f}", off))
    print_table(("published", "interval", "ours", "off, last digits"), published)
    print()

    sizes = (30, 50, 80) if quick else (20, 30, 50, 80, 100, 150, 200, 300)
    misses = {size: miss_rates(size) for size in sizes}
    print_table(
        ("items", *(f"{name}, worst %" for name in misses[sizes[0]]), "gate's lower: drop, won %"),
        [
            (size, *(100 * rate for rate, _, _ in worst.values()), "{1:.3g}, {2:.3g}".format(*(100 * v for v in worst["gate, lower"])))
            for size, worst in misses.items()
        ],
    )  # fmt: skip
    enough = [worst for size, worst in misses.items() if size >= 50]
    figures = {
        "tables": len(exhaustive) + len(drawn),
        "mcnemar_relative_difference": mcnemar,
        "miss_percent": {
            str(size): {name: round(100 * rate, 2) for name, (rate, _, _) in worst.items()}
            for size, worst in misses.items()
        },
    }
    goals = {
        "largest_difference": at_most(max(row[2] for row in rows), 1e-6),
        "published_off_last_digit": at_most(max(row[3] for row in published), 0.5001),
        "upper_misses_percent": at_most(
            100 * max(worst["gate, upper"][0] for worst in enough), 6, "% from 50 items on"
        ),
        "lower_misses_percent": at_most(
            100 * max(worst["gate, lower"][0] for worst in enough), 8, "% from 50 items on"
        ),
    }
    return finish("tango_oracle", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
