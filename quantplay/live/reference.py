"""Where a team keeps nobody on full precision after the cut-over: its conversations before stand in for it.

Each signal gets a limit: the tolerated ratio times the highest rate that those conversations leave possible, never above the signal's ceiling. It is
watched as ceilings are. The two are not concurrent, so day and night and what strikes both don't cancel; every verdict says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantplay.live.counts import BASELINE
from quantplay.live.detectors import ODDS, Detectors
from quantplay.live.rules import LiveRules
from quantplay.live.state import JudgeState
from quantplay.stats.rate_ratios import highest_rate, odds_of


def reference_limits(rules: LiveRules, state: JudgeState) -> tuple[float, ...]:
    """A limit for each of `rules.floors`, from what full precision did since the launch."""
    found = []
    for name, ceiling in rules.floors:
        conversations, events = state.since_launch[rules.relative.index(name)][BASELINE]
        highest = highest_rate(int(events), int(conversations), rules.alpha)
        found.append(min(ceiling, max(rules.limits.negligible, rules.tolerated(name) * highest)))
    return tuple(found)


def with_reference(detectors: Detectors, state: JudgeState) -> Detectors:
    """The detectors of this stage."""
    if state.reference is None:
        return detectors
    limits = np.array(state.reference)
    return replace(detectors, limits=limits, rates=odds_of(limits, ODDS))


def compared_with(state: JudgeState) -> int:
    """Conversations of full precision before the cut-over; 0 where there is no reference."""
    return int(state.since_launch[0][BASELINE][0]) if state.reference is not None else 0
