"""How every benchmark ends: a table for people, then one line of JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LABEL_ALIGN, NUMBER_ALIGN = "<", ">"


@dataclass(frozen=True)
class Goal:
    """A figure with the promise it is held against."""

    value: float
    goal: str  # such as "<= 0.3 s"
    met: bool


def at_most(value: float, limit: float, unit: str = "") -> Goal:
    return Goal(value, f"<= {limit:g} {unit}".rstrip(), value <= limit)


def at_least(value: float, limit: float, unit: str = "") -> Goal:
    return Goal(value, f">= {limit:g} {unit}".rstrip(), value >= limit)


def quick_asked() -> bool:
    """Whether `--quick` was given: small enough for every test run."""
    return "--quick" in sys.argv[1:]


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they need, the first to the left, the others to the right. Floats to six significant digits."""
    lines = [[*header], *([f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        aligned = [
            f"{cell:{NUMBER_ALIGN if column else LABEL_ALIGN}{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(aligned).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def finish(name: str, figures: Mapping[str, Any], goals: Mapping[str, Goal]) -> int:
    """Print the goals and the last line; returns the exit status: 0 when every goal is met, 1 otherwise."""
    if goals:
        print()
        rows = [(metric, goal.value, goal.goal, "met" if goal.met else "MISSED") for metric, goal in goals.items()]
        print_table(("goal", "measured", "promised", ""), rows)
    print()
    body = {"name": name, "figures": dict(figures), "goals": {metric: asdict(goal) for metric, goal in goals.items()}}
    print(json.dumps(body, allow_nan=False), flush=True)
    return 0 if all(goal.met for goal in goals.values()) else 1
