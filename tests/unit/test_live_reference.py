"""After a cut-over that leaves nobody on full precision: what it did before stands in for it."""

from __future__ import annotations

import numpy as np
import pytest
from live_traffic import POLICY, RATES, START, snapshot, traffic
from scipy.stats import binomtest

from quantplay.live import LiveRules, Verdict, judge
from quantplay.live.reference import reference_limits
from quantplay.records import RollbackRules
from quantplay.records.rollback_rules import SIGNALS
from quantplay.stats.rate_ratios import highest_rate

ALONE = LiveRules(limits=RollbackRules(holdback=0))
HALF = POLICY.model_copy(update={"weight": 0.5})
ALL = POLICY.model_copy(update={"weight": 1.0})
HOURS = 24  # half and half, before the cut-over


def cut_over(times: float = 1.0, *, minutes: int = 600, seed: int = 0, signal: str = "escalation") -> list[Verdict]:
    """A day of half and half, then `minutes` with everybody on the quantized model, one signal at `times` its rate; a look each ten."""
    history = traffic(60 * HOURS, weight=0.5, seed=seed)
    first = judge(ALONE, HALF, history, None, history[-1].at)
    assert first.action in ("continue", "promote")
    told, totals = [first], np.array(first.state.counts)
    rates = np.array(RATES) * [times if name == signal else 1.0 for name in SIGNALS]
    draw = np.random.default_rng(seed + 1000)
    for minute in range(10, minutes + 1, 10):
        new = draw.poisson(6000)
        totals[0, 0] += new
        totals[0, 1:] += draw.binomial(new, rates)
        at = START + 3600 * HOURS + 60 * minute
        now = snapshot(at, totals.tolist(), weight=None if minute == 10 else 1.0)
        told.append(judge(ALONE, ALL, [now], told[-1].state, at))
        if told[-1].action == "rollback":
            break
    return told


def test_a_bound_is_scipys() -> None:
    for events, trials, alpha in ((0, 50, 0.01), (7, 1000, 0.0005), (49, 50, 0.05)):
        theirs = binomtest(events, trials, alternative="less").proportion_ci(1 - alpha, "exact").high
        assert highest_rate(events, trials, alpha) == pytest.approx(theirs)
    assert highest_rate(50, 50, 0.01) == 1


def test_a_model_as_good_stays_and_the_verdict_says_what_it_is_compared_with() -> None:
    last = cut_over(1.0)[-1]
    assert (last.action, last.cause) == ("continue", "at_the_top")
    before = f"{last.state.counts[1][0]:,}"
    assert f"its {before} conversations before the cut-over stand in for it" in last.reasons[0]


def test_a_model_that_gets_worse_is_taken_back_though_nobody_is_left_to_compare_with() -> None:
    last = cut_over(1.5)[-1]
    assert (last.action, last.cause) == ("rollback", "floor"), "the plan has no ceiling for escalations"
    assert "full precision's" in last.reasons[0]
    assert "before the cut-over" in last.reasons[0]
    assert last.state.reference is not None
    share = last.state.reference[[name for name, _ in ALONE.floors].index("escalation")]
    assert 1.05 * RATES[2] < share < 1.2 * RATES[2]


def test_limits_are_never_above_the_ceilings_and_never_negligible() -> None:
    state = cut_over()[0].state
    limits = dict(zip((name for name, _ in ALONE.floors), reference_limits(ALONE, state), strict=True))
    assert set(limits) == set(SIGNALS)
    few = state.model_copy(update={"since_launch": tuple(((0.0, 0.0), (30.0, 0.0)) for _ in state.since_launch)})
    assert dict(zip(limits, reference_limits(ALONE, few), strict=True))["error"] == ALONE.limits.ceilings["error"]
    many = state.model_copy(update={"since_launch": tuple(((0.0, 0.0), (1e9, 0.0)) for _ in state.since_launch)})
    assert set(reference_limits(ALONE, many)) == {ALONE.limits.negligible}


def test_at_the_tolerated_ratio_it_hardly_ever_is() -> None:
    """Every signal at 1.05 times; the bound for a month is 1 %, and these are ten hours each."""
    ended = sum(cut_over(1.05, seed=seed, signal=SIGNALS[seed % 6])[-1].action == "rollback" for seed in range(20))
    assert ended == 0


def test_with_a_holdback_nothing_of_this_applies() -> None:
    rules = LiveRules()
    history = traffic(120, weight=1.0)
    state = judge(rules, ALL, history, None, history[-1].at).state
    assert state.reference is None
    assert "reference" not in state.body()
    assert [name for name, _ in rules.floors] == [name for name in SIGNALS if name in rules.limits.ceilings]
