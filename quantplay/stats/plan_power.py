"""The power of a plan's gate, before anything runs: will a lossless candidate pass, and if not, what is missing.

The rise of the gold answer's loss on the hardest slice is no row: its spread can't be known from a rate of flips.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from quantplay.errors import Fault, InputError
from quantplay.plan import Gate
from quantplay.stats.paired import minimum_detectable_drop
from quantplay.stats.power import effective_items, items_for, pass_probability

ALPHA = 0.05  # of all attempts together
TARGET = 0.9  # wanted chance that a lossless candidate passes everything
HARDEST = "hardest"
HARDEST_FLIP_FACTOR = 4.0
"""Hard items sit near the border between right and wrong and flip about four times as often (20 % where others flip 5 %)."""
LARGEST_FLIP_RATE = 0.5  # where answers are coin tosses


@dataclass(frozen=True, kw_only=True)
class PowerRow:
    """One gated slice."""

    slice: str  # slice name, or "hardest"
    items: int
    clusters: int  # documents
    flip_rate: float  # assumed of a lossless candidate
    max_drop_points: float
    pass_probability: float  # of a lossless candidate, this slice alone
    items_needed: int | None  # so that all slices together reach the target; None: no reasonable number does
    carries_points: float  # smallest max_drop, in half points, that the items there are would carry
    minimum_detectable_points: float  # true drop found in 80 % of cases


@dataclass(frozen=True, kw_only=True)
class PowerReport:
    """All gated slices and the chance that a lossless candidate passes every one of them."""

    rows: tuple[PowerRow, ...]  # in the gate's order, hardest last
    joint_probability: float  # product over the rows: the slices are independent, the hardest items nearly so
    target: float
    level: float  # of one attempt
    attempts: int

    @property
    def enough(self) -> bool:
        return self.joint_probability >= self.target

    @property
    def short(self) -> tuple[PowerRow, ...]:
        """Rows to add items to, the weakest first; empty when the plan is strong enough."""
        if self.enough:
            return ()
        lacking = [row for row in self.rows if row.items_needed is None or row.items_needed > row.items]
        return tuple(sorted(lacking, key=lambda row: row.pass_probability))


def power_report(
    gate: Gate, items_per_slice: Mapping[str, int], clusters_per_slice: Mapping[str, int] | None = None
) -> PowerReport:
    """Power of `gate` with so many items and documents a slice of the gate split (documents default to items).

    The hardest slice gets its share of all items, rounded, unless the mappings name "hardest" themselves, and documents
    in proportion. Raises InputError when a gated slice has no items or more documents than items.
    """
    items = {name: items_per_slice.get(name, 0) for name in gate.slices}
    clusters = {name: (clusters_per_slice or {}).get(name, items[name]) for name in gate.slices}
    faults = [
        Fault(
            where=f"gate.slices.{name}",
            what="no usable number of items and documents in the gate split",
            value=f"{items[name]} items in {clusters[name]} documents",
            allowed="at least one item, and no more documents than items",
            fix="add items of this slice to the gate file, or take the slice out of the gate",
        )
        for name in gate.slices
        if not 1 <= clusters[name] <= items[name]
    ]
    if faults:
        raise InputError("the power of this gate can't be computed", faults=faults)
    total = sum(count for name, count in items_per_slice.items() if name != HARDEST)
    total_clusters = sum((clusters_per_slice or {}).get(name, count) for name, count in items_per_slice.items())
    hardest = items_per_slice.get(HARDEST, max(1, round(gate.hardest.share * total)))
    proportion = min(1.0, total_clusters / total)
    hardest_clusters = (clusters_per_slice or {}).get(HARDEST, max(1, round(hardest * proportion)))

    level = ALPHA / gate.attempts
    wanted = TARGET ** (1 / (len(gate.slices) + 1))
    hard_flips = min(LARGEST_FLIP_RATE, HARDEST_FLIP_FACTOR * gate.expected_flip_rate)
    rows = [
        row_of(name, items[name], clusters[name], tolerance.max_drop, gate.expected_flip_rate, level, wanted)
        for name, tolerance in gate.slices.items()
    ]
    rows.append(row_of(HARDEST, hardest, hardest_clusters, gate.hardest.max_drop, hard_flips, level, wanted))
    return PowerReport(
        rows=tuple(rows),
        joint_probability=math.prod(row.pass_probability for row in rows),
        target=TARGET,
        level=level,
        attempts=gate.attempts,
    )


def row_of(
    name: str, items: int, clusters: int, max_drop_points: float, flip_rate: float, level: float, wanted: float
) -> PowerRow:
    max_drop = max_drop_points / 100
    return PowerRow(
        slice=name,
        items=items,
        clusters=clusters,
        flip_rate=flip_rate,
        max_drop_points=max_drop_points,
        pass_probability=pass_probability(items, max_drop, flip_rate, level=level, clusters=clusters),
        items_needed=items_for(max_drop, flip_rate, power=wanted, level=level, items_a_cluster=items / clusters),
        carries_points=carried(items, flip_rate, wanted, level, clusters),
        minimum_detectable_points=100
        * minimum_detectable_drop(effective_items(items, clusters), flip_rate, level=level),
    )


def carried(items: int, flip_rate: float, wanted: float, level: float, clusters: int) -> float:
    """Smallest tolerance, in points and steps of a half, at which a lossless candidate passes with probability `wanted`; at most 100."""
    low, high = 0, 200  # half points; what is wider is passed more easily
    while high - low > 1:
        middle = (low + high) // 2
        enough = pass_probability(items, middle / 200, flip_rate, level=level, clusters=clusters) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high / 2
