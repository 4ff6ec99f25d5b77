"""Tango's bounds and McNemar's test against published figures, statsmodels, scipy and a search that knows no algebra."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.special import xlogy
from scipy.stats import binom, binomtest, norm

from quantplay.stats import (
    mcnemar_exact,
    minimum_detectable_drop,
    tango_interval,
    tango_lower,
    tango_statistic,
    tango_upper,
)

LEVEL = 0.05


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    items = draw(st.integers(2, 800))
    lost = draw(st.integers(0, items))
    return lost, draw(st.integers(0, items - lost)), items


@pytest.mark.parametrize(
    ("lost", "won", "items", "confidence", "low", "high", "places"),
    [
        # Bentur et al. 2009, the standard example of Fagerland, Lydersen and Laake, Statistical Analysis of Contingency
        # Tables (2017), chapter 8: 1 / 1 / 7 / 12.
        (1, 7, 21, 0.95, -0.517, -0.026, 3),
        # R, PropCIs 0.3-0: scoreci.mp(25, 28, 618, 0.90); it estimates (second - first) / n.
        (28, 25, 618, 0.90, -0.0148, 0.0247, 4),
    ],
)
def test_published_intervals(
    lost: int, won: int, items: int, confidence: float, low: float, high: float, places: int
) -> None:
    assert tuple(round(end, places) for end in tango_interval(lost, won, items, confidence)) == (low, high)


def brute_statistic(lost: int, won: int, items: int, drop: float) -> float:
    """The score statistic with the nuisance share found by numerical maximisation of the multinomial likelihood."""

    def loss(share_won: float) -> float:
        same = 1 - 2 * share_won - drop
        return -float(xlogy(lost, share_won + drop) + xlogy(won, share_won) + xlogy(items - lost - won, same))

    low, high = max(0.0, -drop) + 1e-13, (1 - drop) / 2 - 1e-13
    share = float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x)
    return (lost - won - items * drop) / math.sqrt(items * (2 * share + drop * (1 - drop)))


@pytest.mark.parametrize(
    ("lost", "won", "items"), [(12, 5, 600), (0, 7, 50), (9, 0, 50), (1, 0, 600), (60, 60, 300), (3, 30, 90)]
)
def test_bounds_solve_the_score_equation_found_by_brute_force(lost: int, won: int, items: int) -> None:
    z = norm.isf(LEVEL)
    low, high = tango_lower(lost, won, items, LEVEL), tango_upper(lost, won, items, LEVEL)
    estimate = (lost - won) / items
    assert high == pytest.approx(
        brentq(lambda d: brute_statistic(lost, won, items, d) + z, estimate + 1e-6, 0.9), abs=2e-6
    )
    assert low == pytest.approx(
        brentq(lambda d: brute_statistic(lost, won, items, d) - z, -0.9, estimate - 1e-6), abs=2e-6
    )


@given(st.integers(1, 5000), st.sampled_from([0.05, 0.025, 0.01, 0.001]))
def test_nothing_flipped_still_has_a_width(items: int, level: float) -> None:
    """With no flip the statistic is -sqrt(n d / (1 - d)), so the bound is z^2 / (n + z^2)."""
    z = norm.isf(level)
    assert tango_upper(0, 0, items, level) == pytest.approx(z * z / (items + z * z), rel=1e-9)
    assert tango_lower(0, 0, items, level) == pytest.approx(-z * z / (items + z * z), rel=1e-9)


@given(tables(), st.sampled_from([0.05, 0.01]))
def test_bounds_enclose_the_estimate_and_mirror(table: tuple[int, int, int], level: float) -> None:
    lost, won, items = table
    low, high = tango_lower(lost, won, items, level), tango_upper(lost, won, items, level)
    assert -1 <= low <= (lost - won) / items <= high <= 1
    assert tango_upper(won, lost, items, level) == -low
    assert tango_upper(lost, won, items, level / 2) >= high


@given(tables())
def test_a_further_loss_raises_the_upper_bound(table: tuple[int, int, int]) -> None:
    lost, won, items = table
    before = tango_upper(lost, won, items, LEVEL)
    if lost + won < items:
        assert tango_upper(lost + 1, won, items, LEVEL) >= before
    if won:
        assert tango_upper(lost, won - 1, items, LEVEL) >= before


@given(tables())
def test_statistic_falls_with_the_drop(table: tuple[int, int, int]) -> None:
    lost, won, items = table
    values = [tango_statistic(lost, won, items, drop) for drop in np.linspace(-1, 1, 41)]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(values))


@given(tables())
@settings(max_examples=25, deadline=None)
def test_statistic_at_zero_is_mcnemars(table: tuple[int, int, int]) -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    lost, won, items = table
    if lost + won == 0:
        return
    counts = [[items - lost - won, lost], [won, 0]]
    theirs = mcnemar(counts, exact=False, correction=False)
    assert tango_statistic(lost, won, items, 0.0) ** 2 == pytest.approx(theirs.statistic, rel=1e-9)
    assert mcnemar_exact(lost, won) == pytest.approx(mcnemar(counts, exact=True).pvalue, abs=1e-12)
    assert mcnemar_exact(lost, won) == pytest.approx(binomtest(lost, lost + won).pvalue, abs=1e-12)


def test_no_flip_is_no_evidence() -> None:
    assert mcnemar_exact(0, 0) == 1


@pytest.mark.parametrize(("items", "flip_rate", "drop"), [(600, 0.06, 0.03), (100, 0.10, 0.05), (50, 0.05, 0.02)])
def test_upper_bound_covers_a_true_drop(items: int, flip_rate: float, drop: float) -> None:
    """Exact: the chance, over every possible table, that the bound lies below the truth."""
    lost_share, won_share = (flip_rate + drop) / 2, (flip_rate - drop) / 2
    missed = 0.0
    for flips in range(int(binom.ppf(1 - 1e-9, items, flip_rate)) + 1):
        below = [k for k in range(flips + 1) if tango_statistic(k, flips - k, items, drop) < -norm.isf(LEVEL)]
        losses = binom.pmf(below, flips, lost_share / (lost_share + won_share)).sum() if below else 0.0
        missed += binom.pmf(flips, items, flip_rate) * losses
    assert missed <= LEVEL


def test_minimum_detectable_drop_is_the_textbook_formula() -> None:
    expected = (norm.ppf(0.95) + norm.ppf(0.80)) * math.sqrt(0.2 / 300)
    assert minimum_detectable_drop(300, 0.2) == pytest.approx(expected)
    assert 0.06 < expected < 0.065  # "a slice of 300 items resolves about 6 points at 20 % flips"
