"""Time to quantize, savings and device-hours: what is claimed, and what is not."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from adoption_facts import CONFIRMED, MODELS, NOW, OPEN, PACKAGES, STALE, VOLUMES, case, facts, job, package, row, run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantplay.adoption.facts import Served
from quantplay.adoption.savings import device_hours, savings
from quantplay.adoption.timing import mann_kendall, timing
from quantplay.store.volume import Tried

MONEY = package(1, case=case())


def locked(number: int, hours: float, month: int = 9) -> Tried:
    start = datetime(2026, month, 1 + number % 25, tzinfo=UTC)
    return run(number, started_at=start, finished_at=start + timedelta(hours=hours))


# --- time to quantize ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 500), st.integers(7, 11)), min_size=1, max_size=30))
def test_pandas_has_the_same_medians(drawn: list[tuple[float, int]]) -> None:
    runs = [locked(number, hours, month) for number, (hours, month) in enumerate(drawn)]
    frame = pd.DataFrame(
        {"month": [f"{one.finished_at:%Y-%m}" for one in runs], "hours": [(one.finished_at - one.started_at) / timedelta(hours=1) for one in runs]}  # type: ignore[operator]
    )  # fmt: skip
    told = timing(runs)
    assert told.median_hours == pytest.approx(frame["hours"].median())
    assert told.slowest_hours == pytest.approx(frame["hours"].max())
    months = frame.groupby("month")["hours"].agg(["count", "median"])
    assert [(one.month, one.locked) for one in told.months] == list(months["count"].items())
    assert [one.median_hours for one in told.months] == pytest.approx(list(months["median"]))


def test_only_runs_that_locked_something_of_their_own_count() -> None:
    again = run(2, package=run(1).package, finished_at=run(2).started_at + timedelta(seconds=9))
    told = timing([run(1), again, run(3, outcome="close", package=None), run(4, finished_at=None, outcome=None)])
    assert (told.locked, told.median_hours) == (1, 3.0)
    assert timing([]).median_hours is None


@pytest.mark.parametrize(("runs", "months"), [(0, 0), (1, 1), (9, 3), (40, 2)])
def test_few_points_make_no_trend(runs: int, months: int) -> None:
    told = timing([locked(number, 100 / (number + 1), 9 + number % max(months, 1)) for number in range(runs)])
    assert told.trend.startswith("No trend is told from")


def test_a_trend_is_told_where_there_is_one() -> None:
    def trend(hours: list[float]) -> str:
        return timing([locked(n, one, 8 + n * 3 // len(hours)) for n, one in enumerate(hours)]).trend

    draw = random.Random(1)
    assert trend([100 - 3 * n for n in range(20)]).startswith("It takes less")
    assert trend([10 + 3 * n for n in range(20)]).startswith("It takes longer")
    assert trend([5.0] * 20).startswith("No trend can be told from chance")
    told = [trend([draw.uniform(1, 9) for _ in range(15)]).startswith("It takes") for _ in range(400)]
    assert sum(told) <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=10, max_size=40))
def test_scipy_sees_the_same_rank_correlation(values: list[int]) -> None:
    score, p = mann_kendall(values)
    told = stats.kendalltau(range(len(values)), values)
    pairs = len(values) * (len(values) - 1) / 2
    if len(set(values)) == 1:
        assert (score, p) == (0, 1.0)
        return
    same = sum(values.count(one) * (values.count(one) - 1) / 2 for one in set(values))
    assert told.statistic == pytest.approx(score / (pairs * (pairs - same)) ** 0.5)
    assert 0 < p <= 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=12, max_size=25, unique=True))
def test_scipy_has_nearly_the_same_p(values: list[int]) -> None:
    _, p = mann_kendall(values)
    assert p == pytest.approx(stats.kendalltau(range(len(values)), values, method="exact").pvalue, abs=0.02)


# --- savings ---------------------------------------------------------------------------------------------------------------


def test_what_was_counted_is_what_is_saved() -> None:
    rows = (row(package=MONEY.key, requests=10, tokens=3_000_000), row(package=MONEY.key, requests=4, tokens=None))
    found = savings(facts(*rows, packages={MONEY.key: MONEY}))
    (one,) = found.packages
    assert one.tokens == 3_000_000 + 4 * 500
    assert one.saved == pytest.approx(3.002 * 2 * 0.4)
    assert one.how == "(3,000,000 tokens (counted) + 4 requests x 500 tokens (plan)) x 2 USD a million x 40 %"
    assert [(total.currency, total.saved, total.cost) for total in found.money] == [("USD", one.saved, 0)]


def test_tokens_of_answers_alone_are_not_priced() -> None:
    found = savings(
        facts(row(package=MONEY.key, requests=10, tokens=99), packages={MONEY.key: MONEY}, all_tokens=False)
    )
    assert found.packages[0].tokens == 5000
    assert found.packages[0].how.startswith("10 requests x 500 tokens (plan)")


def test_what_it_cost_stands_beside_it() -> None:
    made = package(1, case=case(quantizing_cost=100, currency="EUR"), trained=True)
    plain = package(5, case=case(quantizing_cost=50, currency="EUR"))
    rows = (row(package=made.key, tokens=10**6), row(package=plain.key, tokens=10**6))
    found = savings(facts(*rows, packages={one.key: one for one in (made, plain)}))
    assert [(one.currency, one.saved, one.cost) for one in found.money] == [("EUR", pytest.approx(1.6), 1050)]


def test_without_money_there_is_memory_or_nothing() -> None:
    plain, free, unknown = package(1), package(5, case=case(serving_saving_percent=0)), package(6, freed_bytes=None)
    rows = [row(package=one.key) for one in (plain, free, unknown)]
    found = savings(facts(*rows, packages={one.key: one for one in (plain, free, unknown)}))
    assert (found.money, found.without_money) == ((), 3)
    assert {one.freed_bytes for one in found.packages} == {3 << 30, None}


@settings(deadline=None)
@given(VOLUMES)
def test_nothing_is_saved_by_what_is_not_validated(rows: list[Served]) -> None:
    priced = {key: package(1, key=key, model=one.model, status=one.status, incident=one.incident, locked_on=one.locked_on, case=case()) for key, one in PACKAGES.items()}  # fmt: skip
    found = savings(facts(*rows, packages=priced))
    assert {one.package for one in found.packages} <= {CONFIRMED.key}
    frame = [
        one for one in rows if one.package == CONFIRMED.key and not one.taken_back and one.day >= CONFIRMED.locked_on
    ]  # type: ignore[operator]
    wanted = sum((one.tokens if one.tokens is not None else 500 * one.requests) / 1e6 * 2 * 0.4 for one in frame)
    assert sum(one.saved for one in found.money) == pytest.approx(wanted)
    assert found.left_out == sum(one.requests for one in rows if one.arm == "quantized") - sum(
        one.requests for one in frame
    )
    assert STALE.key not in {one.package for one in found.packages}
    assert OPEN.key not in {one.package for one in found.packages}


def test_savings_are_of_all_that_the_source_knows() -> None:
    old = row(package=MONEY.key, day=None, requests=1000)
    found = savings(facts(ever=(old,), packages={MONEY.key: MONEY}))
    assert found.packages[0].requests == 1000


# --- device-hours ----------------------------------------------------------------------------------------------------------


def test_device_hours_are_of_jobs_whose_end_is_known() -> None:
    jobs = (
        job(1.5, started=NOW - timedelta(days=40)), job(0.5, play="baseline", outcome="failed"), job(9, outcome="lost"), job(9, outcome=None),
    )  # fmt: skip
    told = device_hours(facts(jobs=jobs))
    assert (told.hours, told.by_play, told.jobs, told.not_counted) == (2.0, {"ptq": 1.5, "baseline": 0.5}, 4, 2)
    assert device_hours(facts(jobs=jobs), NOW - timedelta(days=1)).hours == 0.5
    assert MODELS
