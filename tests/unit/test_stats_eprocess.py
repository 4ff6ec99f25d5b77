"""The e-processes against every possible table, a walk event by event, and sums written out in full."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from quantplay.stats.eprocess import follow, follow_restarting, log_mean, restart
from quantplay.stats.rate_ratios import limit_steps, odds_of, ratio_steps, share_steps

counts = st.integers(0, 10_000)
exposures = st.integers(1, 1_000_000)
ratios = st.floats(1.0, 5.0)


def one_look(x_c: float, x_b: float, n_c: float, n_b: float, tolerated: float, ratio: float) -> float:
    look = (np.array([float(value)]) for value in (x_c, x_b, n_c, n_b))
    steps = ratio_steps(*look, tolerated=np.array(tolerated), alternatives=np.array([ratio]))
    assert steps.shape == (1, 1)
    return float(steps[0, 0])


@given(counts, counts, exposures, exposures, ratios, st.floats(1.01, 5))
def test_a_step_is_the_ratio_of_scipys_binomial_likelihoods(
    x_c: int, x_b: int, n_c: int, n_b: int, tolerated: float, times: float
) -> None:
    ratio = tolerated * times
    likelihoods = [binom.logpmf(x_c, x_c + x_b, n_c * r / (n_c * r + n_b)) for r in (ratio, tolerated)]
    expected = likelihoods[0] - likelihoods[1]
    assert one_look(x_c, x_b, n_c, n_b, tolerated, ratio) == pytest.approx(expected, rel=1e-8, abs=1e-6)


def test_a_look_is_worth_what_its_events_are_one_by_one() -> None:
    """Another formula: the wealth of a gambler who meets the events in any order, each a coin with the share of its arm."""
    tolerated, ratio, n_c, n_b = 1.1, 1.7, 30, 270
    fair, bet = (n_c * r / (n_c * r + n_b) for r in (tolerated, ratio))
    for order in itertools.islice(itertools.permutations("ccbbbbb"), 0, 5040, 97):
        wealth = 1.0
        for event in order:
            wealth *= bet / fair if event == "c" else (1 - bet) / (1 - fair)
        assert math.exp(one_look(2, 5, n_c, n_b, tolerated, ratio)) == pytest.approx(wealth)


@pytest.mark.parametrize("events", range(1, 13))
@pytest.mark.parametrize(("tolerated", "ratio"), [(1.0, 1.4), (1.05, 2.5), (1.25, 0.8)])
def test_given_all_events_the_expectation_is_one_at_the_tolerated_ratio(
    events: int, tolerated: float, ratio: float
) -> None:
    share = 30 * tolerated / (30 * tolerated + 270)
    fair = sum(
        binom.pmf(x, events, share) * math.exp(one_look(x, events - x, 30, 270, tolerated, ratio))
        for x in range(events + 1)
    )
    assert fair == pytest.approx(1)
    kinder = share * 0.9 if ratio > tolerated else share * 1.1
    assert (
        sum(
            binom.pmf(x, events, kinder) * math.exp(one_look(x, events - x, 30, 270, tolerated, ratio))
            for x in range(events + 1)
        )
        < 1
    )


@pytest.mark.parametrize(("rate_b", "times"), [(0.02, 1.0), (0.3, 1.0), (0.3, 0.7), (0.6, 1.0)])
@pytest.mark.parametrize("ratio", [1.3, 2.0, 4.0])
def test_the_expectation_is_at_most_one_where_a_conversation_has_at_most_one_event(
    rate_b: float, times: float, ratio: float
) -> None:
    """Not conditional on anything: every table of 6 and 9 conversations. What the module promises and the gateway counts."""
    n_c, n_b, tolerated = 6, 9, 1.1
    rate_c = times * tolerated * rate_b
    mean = sum(
        binom.pmf(x_c, n_c, rate_c)
        * binom.pmf(x_b, n_b, rate_b)
        * math.exp(one_look(x_c, x_b, n_c, n_b, tolerated, ratio))
        for x_c in range(n_c + 1)
        for x_b in range(n_b + 1)
    )
    assert mean <= 1 + 1e-12


@given(st.integers(0, 60), st.integers(1, 50), st.integers(1, 50), st.integers(1, 400), st.integers(2, 6))
def test_splitting_a_look_with_its_exposure_changes_nothing(
    x_c: int, x_b: int, n_c: int, n_b: int, pieces: int
) -> None:
    whole = one_look(x_c, x_b, n_c * pieces, n_b * pieces, 1.05, 1.6)
    cut = [x_c // pieces + (k < x_c % pieces) for k in range(pieces)]
    rest = [x_b if k == pieces - 1 else 0 for k in range(pieces)]
    parts = [one_look(c, b, n_c, n_b, 1.05, 1.6) for c, b in zip(cut, rest, strict=True)]
    assert sum(parts) == pytest.approx(whole, abs=1e-9)


def test_a_look_without_one_of_the_arms_tells_nothing() -> None:
    assert one_look(0, 3, 0, 100, 1.05, 2.0) == 0
    assert one_look(3, 0, 100, 0, 1.05, 2.0) == 0
    assert one_look(1, 1, 0, 0, 1.05, 2.0) == 0


def test_counts_of_any_size_stay_finite() -> None:
    assert math.isfinite(one_look(1e15, 9e15, 1e16, 9e16, 1.05, 4.0))
    path = follow(np.array([-1e12, 0.0]), np.full((2, 3), -1e12))
    assert np.isfinite(log_mean(path, axis=0)).all()


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.001, 0.5), st.floats(1.1, 8))
def test_a_limits_step_is_the_ratio_of_scipys_binomial_likelihoods(x: int, n: int, limit: float, factor: float) -> None:
    x = min(x, n)
    rates = odds_of(np.array([limit]), np.array([factor]))
    rate = float(rates[0, 0])
    assert limit < rate < 1
    assert rate / (1 - rate) == pytest.approx(factor * limit / (1 - limit))
    steps = limit_steps(np.array([[float(x)]]), np.array([[float(n)]]), limit=np.array([limit]), alternatives=rates)
    assert steps[0, 0, 0] == pytest.approx(binom.logpmf(x, n, rate) - binom.logpmf(x, n, limit), abs=1e-8, rel=1e-8)


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.01, 0.99), st.floats(0.3, 3))
def test_a_shares_step_is_the_ratio_of_scipys_binomial_likelihoods(
    chosen: int, rest: int, share: float, odds: float
) -> None:
    total = chosen + rest
    steps = share_steps(
        np.array([float(chosen)]), np.array([float(total)]), share=np.array([share]), odds=np.array([odds])
    )
    other = share * odds / (1 - share + share * odds)
    expected = binom.logpmf(chosen, total, other) - binom.logpmf(chosen, total, share)
    assert steps[0, 0] == pytest.approx(expected, abs=1e-8, rel=1e-8)


def test_a_share_of_nothing_or_all_tells_nothing() -> None:
    steps = share_steps(
        np.array([0.0, 5.0]), np.array([5.0, 5.0]), share=np.array([0.0, 1.0]), odds=np.array([0.5, 2.0])
    )
    assert (steps == 0).all()


@given(arrays(np.float64, (2, 3, 7), elements=st.floats(-5, 5)), st.integers(0, 7))
def test_a_path_does_not_depend_on_how_many_looks_come_at_once(steps: np.ndarray, cut: int) -> None:
    start = np.zeros((2, 3))
    whole = follow(start, steps)
    first = follow(start, steps[..., :cut])
    second = follow(first[..., -1] if cut else start, steps[..., cut:])
    assert np.array_equal(np.concatenate([first, second], axis=-1), whole)  # bit by bit
    assert np.allclose(whole, start[..., None] + np.cumsum(steps, axis=-1))


@given(arrays(np.float64, (3, 24), elements=st.floats(-3, 3)), st.integers(1, 6))
def test_the_sum_over_restarts_is_the_sum_of_every_product_since_its_start(steps: np.ndarray, hour: int) -> None:
    logs = np.zeros(3)
    for t in range(24):
        logs = follow(logs, steps[:, t : t + 1])[..., -1]
        if (t + 1) % hour == 0:
            logs = restart(logs)
    starts = [0, *range(hour, 25, hour)]
    for row in range(3):
        plain = math.fsum(math.exp(math.fsum(steps[row, start:])) for start in starts)
        assert math.exp(logs[row]) == pytest.approx(plain, rel=1e-9)


@given(arrays(np.float64, (2, 9), elements=st.floats(-3, 3)), arrays(np.float64, 9, elements=st.floats(0.1, 60)))
def test_a_sum_that_restarts_at_every_look_is_written_out(steps: np.ndarray, started: np.ndarray) -> None:
    path = follow_restarting(np.zeros(2), steps, started)
    for row in range(2):
        plain = math.exp(math.fsum(steps[row])) + math.fsum(
            worth * math.exp(math.fsum(steps[row, t + 1 :])) for t, worth in enumerate(started)
        )
        assert math.exp(path[row, -1]) == pytest.approx(plain, rel=1e-9)
    half = follow_restarting(np.zeros(2), steps[:, :4], started[:4])[:, -1]
    assert np.array_equal(follow_restarting(half, steps[:, 4:], started[4:]), path[:, 4:])


@given(arrays(np.float64, (4, 5), elements=st.floats(-700, 700)))
def test_the_mixture_is_the_mean_and_never_above_its_largest_part(logs: np.ndarray) -> None:
    mixed = log_mean(logs, axis=0)
    assert (mixed <= logs.max(axis=0) + 1e-12).all()
    for column in range(5):
        plain = math.fsum(math.exp(value - logs[:, column].max()) for value in logs[:, column]) / 4
        assert mixed[column] == pytest.approx(math.log(plain) + logs[:, column].max(), abs=1e-9)


def test_a_mixture_that_is_looked_at_after_every_event_rarely_deceives() -> None:
    """Ville's bound by enumeration: all 2^16 orders of 16 events under the tolerated ratio."""
    tolerated, n_c, n_b = 1.0, 1.0, 1.0
    alternatives = np.array([1.5, 3.0, 8.0])
    worth = {
        event: ratio_steps(
            np.array([float(event)]), np.array([float(1 - event)]), np.array([n_c]), np.array([n_b]),
            tolerated=np.array(tolerated), alternatives=alternatives,
        )[:, 0]
        for event in (0, 1)
    }  # fmt: skip
    crossed = 0
    for order in itertools.product((0, 1), repeat=16):
        path = follow(np.zeros(3), np.stack([worth[event] for event in order], axis=-1))
        crossed += bool((log_mean(path, axis=0) >= math.log(20)).any())
    assert 0 < crossed / 2**16 <= 1 / 20
