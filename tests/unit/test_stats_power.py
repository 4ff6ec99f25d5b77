"""Power: against simulation, against the figures of the documentation, and for whole plans."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.plan import Gate
from quantplay.stats import items_for, items_to_settle, pass_probability, power_report, tango_upper
from quantplay.stats.power import normal_pass_probability


def gate(max_drop: float = 4.0, hardest: float = 9.0, slices: int = 5, **more: object) -> Gate:
    return Gate.model_validate(
        {
            "slices": {f"s{i}": {"max_drop": max_drop, "broken_drop": 2 * max_drop} for i in range(slices)},
            "hardest": {
                "max_drop": hardest,
                "broken_drop": 2 * hardest,
                "max_loss_rise": 0.1,
                "broken_loss_rise": 0.2,
            },
            **more,
        }
    )


@pytest.mark.parametrize(("items", "max_drop", "flip_rate"), [(600, 0.02, 0.05), (120, 0.06, 0.1), (40, 0.05, 0.02)])
def test_exact_power_agrees_with_simulation(items: int, max_drop: float, flip_rate: float) -> None:
    generator = np.random.default_rng(11)
    tables = generator.multinomial(items, [flip_rate / 2, flip_rate / 2, 1 - flip_rate], size=4000)
    unique, counts = np.unique(tables[:, :2], axis=0, return_counts=True)
    passed = sum(
        int(count)
        for (lost, won), count in zip(unique, counts, strict=True)
        if tango_upper(lost, won, items, 0.05) <= max_drop
    )
    probability = pass_probability(items, max_drop, flip_rate)
    assert passed / 4000 == pytest.approx(probability, abs=4 * math.sqrt(0.25 / 4000))


def test_orders_of_magnitude_of_the_documentation() -> None:
    """At 5 % flips, five slices and 2 points: 0.18 at 600 items by the normal formula, about 1,700 items for 90 %."""
    assert normal_pass_probability(600, 0.02, 0.05) ** 5 == pytest.approx(0.18, abs=0.005)
    assert pass_probability(600, 0.02, 0.05) ** 5 == pytest.approx(0.15, abs=0.01)
    assert items_for(0.02, 0.05, power=0.9**0.2) == pytest.approx(1700, rel=0.05)


@given(st.integers(50, 1500), st.floats(0.01, 0.1), st.floats(0.01, 0.3))
@settings(max_examples=30, deadline=None)
def test_power_is_a_probability_that_grows_with_the_tolerance(items: int, max_drop: float, flip_rate: float) -> None:
    tight, loose = (pass_probability(items, drop, flip_rate) for drop in (max_drop, 1.5 * max_drop))
    assert 0 <= tight <= loose + 1e-12 <= 1 + 1e-9
    assert pass_probability(items, max_drop, flip_rate, level=0.01) <= tight + 1e-12


def test_shared_documents_cost_power() -> None:
    assert pass_probability(600, 0.03, 0.05, clusters=300) < pass_probability(600, 0.03, 0.05, clusters=600)
    assert pass_probability(600, 0.03, 0.05, clusters=600) == pass_probability(600, 0.03, 0.05)
    assert pass_probability(600, 0.03, 0.05, clusters=1) == 0
    assert pass_probability(0, 0.03, 0.05) == 0


def test_items_for_are_enough_and_not_many_too_many() -> None:
    items = items_for(0.03, 0.05, power=0.95)
    assert items is not None
    assert pass_probability(items, 0.03, 0.05) >= 0.95
    assert pass_probability(int(0.97 * items), 0.03, 0.05) < 0.95
    assert items_for(0.00001, 0.5) is None


def test_items_to_settle_reach_the_power_they_promise() -> None:
    items = math.ceil(items_to_settle(0.025, 0.025, 0.02))
    assert pass_probability(items, 0.02, 0.05) == pytest.approx(0.9, abs=0.02)
    assert items_to_settle(0.05, 0.01, 0.04) == math.inf


def test_report_of_the_pilots_gate() -> None:
    items = dict.fromkeys(gate().slices, 600)
    started = time.perf_counter()
    report = power_report(gate(), items, {**items, "s4": 300})
    assert time.perf_counter() - started < 1
    assert [row.slice for row in report.rows] == ["s0", "s1", "s2", "s3", "s4", "hardest"]
    assert report.rows[-1].items == 300
    assert report.rows[-1].flip_rate == pytest.approx(0.2)
    assert report.rows[4].pass_probability < report.rows[0].pass_probability
    assert report.joint_probability == pytest.approx(math.prod(row.pass_probability for row in report.rows))
    assert report.enough
    assert report.joint_probability == pytest.approx(0.92, abs=0.01)
    assert report.short == ()


def test_a_weak_plan_says_which_slice_needs_how_many() -> None:
    items = {**dict.fromkeys(gate().slices, 600), "s2": 100}
    report = power_report(gate(), items)
    assert not report.enough
    assert report.short[0].slice == "s2"
    needed = report.short[0].items_needed
    assert needed is not None
    better = power_report(gate(hardest=30.0), dict.fromkeys(gate().slices, needed))
    assert better.enough


@pytest.mark.parametrize("count", [40, 150, 600, 2000])
def test_the_tolerance_that_the_items_carry_is_the_smallest_that_passes(count: int) -> None:
    items = dict.fromkeys(gate().slices, count)
    report = power_report(gate(), items)
    wanted = report.target ** (1 / len(report.rows))
    for row in report.rows:
        chances = [
            pass_probability(row.items, points / 200, row.flip_rate, level=report.level, clusters=row.clusters)
            for points in (2 * row.carries_points, 2 * row.carries_points - 1)
        ]
        assert chances[0] >= wanted > chances[1]
    assert power_report(gate(report.rows[0].carries_points, report.rows[-1].carries_points), items).enough


def test_attempts_and_flip_rate_enter() -> None:
    items = dict.fromkeys(gate().slices, 600)
    once = power_report(gate(), items).joint_probability
    assert power_report(gate(attempts=3), items).joint_probability < once
    assert power_report(gate(expected_flip_rate=0.02), items).joint_probability > once
    assert power_report(gate(expected_flip_rate=0.4), items).rows[-1].flip_rate == 0.5


@pytest.mark.parametrize(("items", "clusters"), [({"s0": 0}, {}), ({}, {}), ({"s0": 10}, {"s0": 11})])
def test_a_slice_that_is_not_there_is_refused(items: dict[str, int], clusters: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"gate\.slices\.s0"):
        power_report(gate(slices=1), items, clusters)
