"""The quality budget: what a plan lets a quantized model lose, and whether anything would be refused by it."""

from __future__ import annotations

from collections import Counter, defaultdict

from quantplay.plan import Plan
from quantplay.records import Baseline
from quantplay.stats.plan_power import HARDEST

ANY_LOSS = 20.0  # points: a tolerance from here on refuses only what anybody sees without measuring
NO_FLOOR = 50.0  # points: one slice alone
TARGET = "the target"
"""What harness/task_files.py records of a likelihood: that the target was the likeliest text, not what was said."""


def limitless(plan: Plan) -> dict[str, float]:
    """Slices whose tolerance is none, with it in points: all of them where every one is wide, else those that have no floor."""
    limits = {name: one.max_drop for name, one in plan.gate.slices.items()}
    if min(limits.values()) >= ANY_LOSS:
        return limits
    return {name: drop for name, drop in limits.items() if drop >= NO_FLOOR}


def parrot(plan: Plan, baseline: Baseline) -> tuple[str, float] | None:
    """The one answer whose score is within tolerance everywhere if it is always given, and the most it loses in a slice, in points.

    A model that says nothing else has lost everything there is to lose; a set that lets it pass tests nothing.
    """
    right = Counter(one.response for one in baseline.source.items if one.score > 0 and one.response.strip())
    if not right:
        return None
    answer = right.most_common(1)[0][0]
    slices: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    hardest = set(baseline.hardest)
    for one in baseline.source.items:
        for name in (one.slice, *([HARDEST] if one.id in hardest else [])):
            slices[name].append((one.score, one.score if one.response == answer else 0.0))
    limits = {name: one.max_drop for name, one in plan.gate.slices.items()} | {HARDEST: plan.gate.hardest.max_drop}
    lost = {
        name: 100 * sum(full - alone for full, alone in pairs) / len(pairs)
        for name, pairs in slices.items()
        if name in limits
    }
    passes = bool(lost) and all(drop <= limits[name] for name, drop in lost.items())
    return (answer, max(lost.values())) if passes and answer != TARGET else None
