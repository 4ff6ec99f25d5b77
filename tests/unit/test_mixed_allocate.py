"""Allocation against dynamic programming, greedy and uniform types; budgets too small and mixes that have to differ."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.mixed.allocate import (
    Option,
    allocate,
    bytes_of,
    cost_of,
    differences,
    greedy,
    smallest_bytes,
    solve,
    uniform_mixes,
    worthwhile,
)

KINDS = ("IQ2_S", "Q3_K", "Q4_K", "Q6_K")
Table = dict[str, list[Option]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Up to 6 groups with up to 4 types; costs are any, so types may be dominated or equal."""
    groups = draw(st.integers(1, 6))
    number = st.one_of(st.just(0.0), st.floats(1e-6, 10, allow_subnormal=False), st.sampled_from([0.5, 1.0, 2.0]))
    return {
        f"g{index}": [
            Option(kind=kind, bytes=draw(st.integers(1, 40)), cost=draw(number))
            for kind in KINDS[: draw(st.integers(1, len(KINDS)))]
        ]
        for index in range(groups)
    }


def least_cost(table: Table, budget: int) -> float:
    """Dynamic programming over every number of bytes: exact, and nothing like the solver."""
    best: dict[int, float] = {0: 0.0}
    for choices in table.values():
        following: dict[int, float] = {}
        for used, cost in best.items():
            for option in choices:
                total = used + option.bytes
                if total <= budget:
                    following[total] = min(following.get(total, np.inf), cost + option.cost)
        best = following
    return min(best.values())


@settings(max_examples=150, deadline=None)
@given(tables(), st.integers(0, 120))
def test_the_cost_is_the_least_there_is(table: Table, more: int) -> None:
    budget = smallest_bytes(table) + more
    mix = allocate(table, budget)
    assert bytes_of(table, mix) <= budget
    assert cost_of(table, mix) == pytest.approx(least_cost(table, budget), rel=1e-6, abs=1e-9)


@settings(max_examples=75, deadline=None)
@given(tables(), st.integers(0, 120))
def test_it_is_never_worse_than_simple_mixes(table: Table, more: int) -> None:
    budget = smallest_bytes(table) + more
    cost = cost_of(table, solve(table, budget))
    for rival in (greedy(table, budget), *uniform_mixes(table, budget)):
        assert bytes_of(table, rival) <= budget
        assert cost <= cost_of(table, rival) * (1 + 1e-6) + 1e-9


@settings(max_examples=50, deadline=None)
@given(tables(), st.integers(0, 120), st.integers(0, 40))
def test_more_bytes_never_cost_more(table: Table, more: int, still_more: int) -> None:
    budget = smallest_bytes(table) + more
    poorer, richer = (cost_of(table, allocate(table, size)) for size in (budget, budget + still_more))
    assert richer <= poorer * (1 + 1e-6) + 1e-9


def large_table(groups: int = 260, seed: int = 3) -> Table:
    """As many groups as a model of 64 blocks has, with bytes in the hundreds of millions and costs over five decades."""
    random = np.random.default_rng(seed)
    bits = {"IQ2_S": 2.56, "Q2_K": 2.63, "IQ3_S": 3.44, "Q3_K": 3.44, "IQ4_XS": 4.25, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.56, "Q8_0": 8.5}  # fmt: skip
    table = {}
    for index in range(groups):
        weights, sensitivity = random.integers(10**7, 10**9), np.exp(random.normal(0, 2.5))
        table[f"blk.{index}"] = [
            Option(
                kind=kind,
                bytes=int(weights * bit / 8),
                cost=float(sensitivity * 4.0**-bit * np.exp(random.normal(0, 0.1))),
            )
            for kind, bit in bits.items()
        ]
    return table


def test_a_large_model_takes_less_than_a_second_a_budget() -> None:
    table = large_table()
    allocate(table, 2 * smallest_bytes(table))  # loads the solver
    started = time.process_time()
    for share in (1.1, 1.5, 2.2):
        budget = int(share * smallest_bytes(table))
        assert 0.999 * budget < bytes_of(table, allocate(table, budget)) <= budget
    assert (time.process_time() - started) / 3 < 1.0


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(8):
        table = large_table(groups=17, seed=seed)
        allocate(table, int(1.3 * smallest_bytes(table)))
    print("mine")
    assert capfd.readouterr().out == "mine\n"


def test_a_budget_below_the_smallest_mix_names_the_smallest_size() -> None:
    table = large_table(groups=3)
    smallest = smallest_bytes(table)
    with pytest.raises(InputError, match=f"{smallest:,}"):
        allocate(table, smallest - 1)
    assert bytes_of(table, allocate(table, smallest)) == smallest


def test_mixes_differ_as_much_as_asked_and_get_no_cheaper() -> None:
    table = large_table(groups=24)
    budget = int(1.6 * smallest_bytes(table))
    found: list[dict[str, str]] = []
    for _ in range(3):
        found.append(allocate(table, budget, apart_from=found, distance=4))
    costs = [cost_of(table, mix) for mix in found]
    assert costs == sorted(costs)
    assert min(differences(one, other) for one in found for other in found if one is not other) >= 4


def test_no_mix_is_left_to_differ() -> None:
    table = {"embedding": [Option(kind="Q4_K", bytes=3, cost=1.0)]}
    only = allocate(table, 3)
    with pytest.raises(LookupError):
        allocate(table, 3, apart_from=[only])


def test_equal_inputs_give_the_same_mix() -> None:
    same: Sequence[Option] = [
        Option(kind=kind, bytes=size, cost=2.0 / size) for kind, size in (("Q2_K", 1), ("Q4_K", 2))
    ]
    table = {f"blk.{index}": same for index in range(9)}
    assert allocate(table, 13) == allocate(table, 13)


def test_a_type_that_is_larger_and_no_better_is_left_out() -> None:
    better, worse = Option(kind="IQ3_S", bytes=3, cost=1.0), Option(kind="Q3_K", bytes=3, cost=1.5)
    assert worthwhile([worse, better, Option(kind="Q4_0", bytes=4, cost=1.0)]) == [better]
