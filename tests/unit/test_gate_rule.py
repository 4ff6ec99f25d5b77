"""The order of verdicts on numbers alone, and how often the rule is wrong."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from quantplay.gate import Quantity, judge, overall
from quantplay.gate.rule import items_needed
from quantplay.gate.validity import Rates, World, document_names, draw_differences, simulate
from quantplay.records import Verdict
from quantplay.stats import FlipDrop, pass_probability

LEVEL = 0.05
ORDER: tuple[Verdict, ...] = ("pass", "inconclusive", "close", "broken")


def quantity(lost: int, won: int = 0, items: int = 600, max_drop: float = 0.04, broken_drop: float = 0.08) -> Quantity:
    drop = FlipDrop(items=items, clusters=items, lost=lost, won=won)
    return Quantity(drop=drop, max_drop=max_drop, broken_drop=broken_drop)


@pytest.mark.parametrize(
    ("lost", "won", "items", "verdict"),
    [
        (5, 5, 600, "pass"),
        (0, 0, 600, "pass"),
        (0, 0, 50, "inconclusive"),  # nothing flipped, and yet 50 items can't rule out 4 points
        (30, 12, 600, "inconclusive"),
        (40, 10, 600, "close"),
        (120, 10, 600, "broken"),
        (54, 0, 600, "close"),  # 9 points lost, but not surely more than 8
        (7, 2, 100, "inconclusive"),  # 5 points lost, but that is no evidence of any loss
        (5, 0, 100, "close"),
    ],
)
def test_verdicts_of_one_quantity(lost: int, won: int, items: int, verdict: Verdict) -> None:
    assert judge([quantity(lost, won, items)], LEVEL)[0].verdict == verdict


@given(st.lists(st.sampled_from(ORDER), min_size=1, max_size=7))
def test_the_gate_is_as_good_as_its_worst_quantity(verdicts: list[Verdict]) -> None:
    assert overall(verdicts) == max(verdicts, key=ORDER.index)


@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 60)), min_size=1, max_size=6),
    st.integers(0, 5),
    st.integers(1, 60),
)
@settings(deadline=None)
def test_more_losses_never_improve_the_verdict(pairs: list[tuple[int, int]], which: int, more: int) -> None:
    which %= len(pairs)
    worse = [(lost + more, won) if i == which else (lost, won) for i, (lost, won) in enumerate(pairs)]
    before, after = (
        overall(item.verdict for item in judge([quantity(*pair) for pair in drawn], LEVEL)) for drawn in (pairs, worse)
    )
    assert ORDER.index(after) >= ORDER.index(before)


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 60)), min_size=2, max_size=6))
@settings(deadline=None)
def test_a_further_quantity_never_improves_a_pass(pairs: list[tuple[int, int]]) -> None:
    verdicts = [overall(i.verdict for i in judge([quantity(*p) for p in part], LEVEL)) for part in (pairs[:-1], pairs)]
    assert verdicts[1] != "pass" or verdicts[0] == "pass"


@given(st.integers(0, 150), st.integers(0, 60))
def test_fewer_attempts_never_hurt(lost: int, won: int) -> None:
    once, shared = (judge([quantity(lost, won)], level)[0] for level in (LEVEL, LEVEL / 4))
    assert once.upper <= shared.upper
    assert once.lower_holm >= shared.lower_holm


def test_a_lossless_candidate_passes_a_gate_with_enough_items() -> None:
    rates = simulate(World(items=600, flip_rate=0.05, max_drop=0.04, broken_drop=0.08), repeats=150, seed=1)
    assert rates.rate("pass") > 0.9
    assert rates.rate("close", "broken") == 0
    assert rates.upper("close", "broken") == pytest.approx(1 - 0.05 ** (1 / 150))


@pytest.mark.parametrize(
    "world",
    [
        World(items=300, drop=0.05, flip_rate=0.08, slices=1, max_drop=0.05, broken_drop=0.2),
        World(items=60, drop=0.08, flip_rate=0.1, slices=1, max_drop=0.08, broken_drop=0.2),
        World(items=600, items_a_document=5, correlation=0.4, drop=0.04, flip_rate=0.08, slices=1, max_drop=0.04),
        World(items=300, drop=(0.05, 0.0), flip_rate=0.08, slices=2, max_drop=0.05, broken_drop=0.2),
    ],
)
def test_damage_at_the_tolerance_rarely_passes(world: World) -> None:
    assert simulate(world, repeats=400, seed=2).rate("pass") < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


@given(st.integers(20, 400), st.integers(0, 80), st.integers(0, 80), st.integers(1, 8))
def test_close_is_a_loss_beyond_the_tolerance_that_two_sided_tests_find(
    items: int, lost: int, won: int, quantities: int
) -> None:
    lost, won = min(lost, items // 2), min(won, items // 2)
    calm = [quantity(0, 0, items) for _ in range(quantities - 1)]
    judged = judge([quantity(lost, won, items, broken_drop=0.9), *calm], LEVEL)[0]
    beyond = lost - won > 0.04 * items
    evident = lost > won and (lost - won) / math.sqrt(lost + won) > norm.isf(LEVEL / 2 / quantities)  # McNemar's
    assert (judged.verdict == "close") == (beyond and evident and judged.upper > 0.04)
    assert (judged.lower_loss > 0) == evident


@pytest.mark.parametrize(
    "world",
    [
        World(items=50, flip_rate=0.2, slices=1, max_drop=0.05, broken_drop=0.1),  # 22 % by the measured drop alone
        World(items=600, flip_rate=0.2, slices=5, max_drop=0.04, broken_drop=0.08),
        World(items=200, items_a_document=10, correlation=1, flip_rate=0.2, slices=1, max_drop=0.04, broken_drop=0.08),
        World(items=600, items_a_document=(1, 1, 2, 4, 12), correlation=0.9, flip_rate=0.2, slices=1, max_drop=0.04),
    ],
)
def test_a_weak_plan_does_not_call_a_lossless_candidate_close(world: World) -> None:
    rates = simulate(world, repeats=600, seed=5)
    assert rates.upper("close", "broken") <= 0.05


def test_a_truly_close_candidate_is_called_close() -> None:
    """Half beyond the tolerance, with as many items as `quantplay check` asks for."""
    world = World(items=600, drop=(0.06, 0, 0, 0, 0), flip_rate=0.1, slices=5, max_drop=0.04, broken_drop=0.08)
    assert simulate(world, repeats=300, seed=6).lower("close", "broken") > 0.85


def test_damage_in_whole_documents_that_were_not_drawn_does_not_pass() -> None:
    """30 documents, of which one in 20 is lost nearly whole: in a fifth of the samples there is none."""
    world = World(items=600, items_a_document=20, correlation=0.6, flip_rate=0.05, drop=0.05, slices=1, max_drop=0.05)
    assert simulate(world, repeats=300, seed=7).rate("pass") < 0.02  # 19 % before documents not seen counted


def test_the_rates_have_exact_confidence_bounds() -> None:
    rates = Rates(repeats=200, counts=Counter({"pass": 190, "close": 7, "broken": 3}))
    low, high = proportion_confint(10, 200, alpha=0.1, method="beta")
    assert rates.upper("close", "broken") == pytest.approx(high)
    assert rates.lower("close", "broken") == pytest.approx(low)
    assert (rates.lower("inconclusive"), rates.upper("pass", "close", "broken")) == (0, 1)


def test_items_needed_settle_a_loss_beyond_the_tolerance() -> None:
    """With as many items the same loss is evident among all quantities, and a lossless candidate passes in 90 %."""
    seen = quantity(7, 2, 100)
    items = math.ceil(items_needed(seen, LEVEL, 6))
    assert items > 100
    again = quantity(round(0.07 * items), round(0.02 * items), items)
    calm = [quantity(0, 0, items) for _ in range(5)]
    assert judge([again, *calm], LEVEL)[0].verdict == "close"
    assert pass_probability(items, 0.04, 0.09, level=LEVEL / 12) > 0.88


def test_sure_damage_is_called_broken() -> None:
    world = World(items=600, drop=(0.15, 0.0, 0.0), flip_rate=0.2, slices=3, max_drop=0.04, broken_drop=0.06)
    assert simulate(world, repeats=50, seed=3).rate("broken") > 0.9


@pytest.mark.parametrize("levels", [0, 3])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_simulated_items_have_the_drop_and_correlation_asked_for(levels: int, correlation: float) -> None:
    world = World(items=20_000, items_a_document=2, correlation=correlation, flip_rate=0.3, graded_levels=levels)
    values = draw_differences(world, 0.05, document_names(world), np.random.default_rng(4))
    assert values.mean() == pytest.approx(0.05, abs=0.02)
    assert (values != 0).mean() == pytest.approx(0.3, abs=0.02)
    if not levels:
        assert np.corrcoef(values[::2], values[1::2])[0, 1] == pytest.approx(correlation, abs=0.05)


def test_documents_of_several_sizes_take_turns() -> None:
    names = document_names(World(items=10, items_a_document=(1, 3)))
    assert np.bincount(names).tolist() == [1, 3, 1, 3, 1, 1]
    assert np.bincount(document_names(World(items=6, items_a_document=4))).tolist() == [4, 2]


def test_an_impossible_world_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a flip rate"):
        simulate(World(items=10, drop=0.5, flip_rate=0.1), repeats=1, seed=0)
