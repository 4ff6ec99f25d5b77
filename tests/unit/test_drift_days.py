"""Days against usual days: scipy as oracle, limits that hold how often they say, verdicts in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score

from quantplay.live.drift.divergence import divergence, limit, spread_of
from quantplay.live.drift.domain import area, row_of, told_apart
from quantplay.live.drift.features import of_request, of_text
from quantplay.live.drift.fingerprint import EMPTY, FAMILIES, Fingerprint, Tally, fingerprint_of
from quantplay.live.drift.usual import Day, Usual
from quantplay.live.drift.verdict import readings, reasons, unlike
from quantplay.live.gateway.counters import Counters
from quantplay.live.gateway.watch import DAY_MINUTES, Watch

MONDAY = date(2026, 1, 5)
BINS = st.integers(2, 40)


@given(BINS.flatmap(lambda k: st.tuples(*(arrays(float, k, elements=st.floats(0, 1e6)) for _ in range(2)))))
def test_the_divergence_is_scipys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = pair
    found = float(divergence(p, q))
    assert 0 <= found <= 1 + 1e-12
    assert found == float(divergence(q, p))
    if p.sum() > 1e-3 and q.sum() > 1e-3:
        assert found == pytest.approx(float(jensenshannon(p, q, base=2)) ** 2, abs=1e-9)
        assert found == pytest.approx(float(divergence(p * 7, q * 3)), abs=1e-9)


@pytest.mark.parametrize("size", [50, 1000, 20_000])
def test_a_limit_is_passed_as_seldom_as_it_says_where_only_sampling_moves(size: int) -> None:
    """Days of one distribution: with nothing known of days, one in a hundred is beyond the limit, or fewer."""
    dice = np.random.default_rng(size)
    shares = dice.dirichlet(np.full(20, 0.7))
    centre = dice.multinomial(200_000, shares)
    most = limit(centre, np.zeros((1, 20)), (size, 200_000), 0.01)
    away = divergence(dice.multinomial(size, shares, 20_000) / size, centre)
    assert (away > most).mean() <= 0.012
    assert most <= 3 * float(np.quantile(away, 0.99))  # and it is no larger than it has to be
    assert limit(centre, np.zeros((1, 20)), (size, 200_000), 0.01) == most
    assert limit(centre, np.zeros((1, 20)), (size / 4, 200_000), 0.01) > most


def test_days_that_vary_more_have_a_larger_limit_and_keep_to_it() -> None:
    dice = np.random.default_rng(3)
    centre = dice.dirichlet(np.full(12, 2.0))
    passed, quiet = [], []
    for _ in range(60):
        days = [drawn(dice, dice.dirichlet(400 * centre), 5000) for _ in range(14)]
        spread = spread_of(days, [0] * 14, "words")
        total = np.sum([day.bins("words") for day in days], axis=0)
        most = limit(total, spread, (5000, 70_000), 0.01)
        quiet.append(most / limit(total, np.zeros((1, total.size)), (5000, 70_000), 0.01))
        later = [drawn(dice, dice.dirichlet(400 * centre), 5000).bins("words") for _ in range(50)]
        passed += [float(divergence(one, total)) > most for one in later]
    assert np.mean(passed) <= 0.01
    assert min(quiet) > 2


def drawn(dice: np.random.Generator, shares: np.ndarray, size: int) -> Fingerprint:
    counts = dice.multinomial(size, shares)
    return Fingerprint(
        looked=size, seen=size, squares=size, counts={f"words:{n}": int(c) for n, c in enumerate(counts) if c}
    )


def asked(number: int, *, words: int = 40, code: bool = False, words_from: str = "order") -> dict[str, Any]:
    text = " ".join(f"where is the {words_from} of this".split()[(number + place) % 6] for place in range(words))
    return {"messages": [{"role": "user", "content": text + ("\n```\nx = 1\n```" if code else "")}]}


def usual_days(count: int, **changes: Any) -> Iterator[Day]:
    for day in range(count):
        when = MONDAY + timedelta(days=day)
        many = 150 if when.weekday() >= 5 else 400
        some = [
            of_request(asked(n + day, words=20 + (n + day) % 40, code=n % 50 == 0, **changes), 30 + n % 60)
            for n in range(many)
        ]
        yield Day(date=when, fingerprint=fingerprint_of(some))


def test_what_changed_is_said_in_words() -> None:
    usual = Usual(list(usual_days(14)))
    same = Day(date=MONDAY + timedelta(days=14), fingerprint=usual.days[1].fingerprint)
    found = readings(usual, same, None, compare=True)
    assert not any(one.beyond for one in found)
    assert reasons(usual, same, found) == ()

    longer = [of_request(asked(n, words=210, code=n % 5 < 2), 30 + n % 60) for n in range(400)]
    other = Day(date=same.date, fingerprint=fingerprint_of(longer))
    found = readings(usual, other, None, compare=True)
    said = reasons(usual, other, found)
    assert any("Prompts are longer: median 2" in one and "before 40" in one for one in said), said
    assert any("40 % of conversations hold code, before 2" in one for one in said), said
    assert {one.family for one in found if one.beyond} >= {"words", "form"}
    assert not {one.family for one in found if one.beyond} & {"turns", "answer"}


def test_a_calibration_set_that_is_unlike_the_traffic_is_told_apart_from_a_change() -> None:
    usual = Usual(list(usual_days(14)))
    day = Day(date=MONDAY + timedelta(days=14), fingerprint=usual.days[0].fingerprint)
    alike = fingerprint_of(of_request(asked(n, words=20 + n % 40, code=n % 50 == 0)) for n in range(256))
    other = fingerprint_of(of_request(asked(n, words=20 + n % 40, code=True)) for n in range(256))
    assert unlike(usual, readings(usual, day, alike, compare=True), alike) == ()
    found = readings(usual, day, other, compare=True)
    assert not any(one.beyond for one in found)
    assert any("hold code, calibration 100 %" in one for one in unlike(usual, found, other))
    assert unlike(usual, readings(usual, day, None, compare=True), None) == ()


def test_a_holiday_is_like_a_sunday() -> None:
    days = [day for week in range(2) for day in week_of(week)]
    usual = Usual(days)
    monday = MONDAY + timedelta(days=14)
    for when, code in ((monday, 0.1), (monday, 0.6), (monday + timedelta(days=5), 0.6)):
        found = readings(usual, Day(date=when, fingerprint=share_of_code(code)), None, compare=True)
        assert not any(one.beyond for one in found)
    between = readings(usual, Day(date=monday, fingerprint=share_of_code(0.35)), None, compare=True)
    assert [one.family for one in between if one.beyond] == ["form"]


def week_of(week: int) -> list[Day]:
    return [
        Day(date=MONDAY + timedelta(days=7 * week + day), fingerprint=share_of_code(0.6 if day >= 5 else 0.1))
        for day in range(7)
    ]


def share_of_code(share: float) -> Fingerprint:
    code = int(2000 * share)
    return Fingerprint(looked=2000, seen=2000, squares=2000, counts={"form:0": 2000 - code, "form:1": code})


# --- what the gateway looks at ----------------------------------------------------------------------------------------


def conversation(number: int) -> str:
    return f"{np.random.default_rng(number).integers(2**63):032x}"[::-1]


@pytest.mark.parametrize("a_second", [1, 5, 40, 300])
def test_busy_endpoints_are_sampled_and_the_weights_make_up_for_it(a_second: int) -> None:
    watch, looked, total, sampled = Watch(300), {}, 0, 0
    for number in range(a_second * 180):
        minute = 1000 + number // (a_second * 60)
        weight = watch.weight(conversation(number), minute)
        looked[minute] = looked.get(minute, 0) + bool(weight)
        total, sampled = total + weight, sampled + weight**2
    assert max(looked.values()) <= 300 + 150 * 8
    assert max(list(looked.values())[1:]) <= 300 + 150  # once the rate is known
    everybody = a_second * 180
    if a_second <= 5:
        assert total == everybody
    assert abs(total - everybody) <= 5 * np.sqrt(sampled)
    assert Watch(0).weight("ab" * 16, 5) == 0


def test_counts_of_a_day_are_handed_over_as_they_stand() -> None:
    now = [86_400.0 * 100 + 5]
    watch, counters = Watch(300, clock=lambda: now[0]), Counters(1000, clock=lambda: now[0])
    policy = SimpleNamespace(endpoint="chat", revision=2)
    tally, rows = Tally(), {}

    def flush() -> None:
        watch.hand_over(counters)
        pending = counters.pending()
        rows.update(pending)
        counters.confirmed(pending)

    for number in range(300):
        fields = asked(number, words=number)
        exchange = SimpleNamespace(
            conversation=conversation(number), route=SimpleNamespace(policy=policy), failed=number % 7 == 0, fields=fields,
            completion_tokens=None, events=number,
        )  # fmt: skip
        watch.look(exchange)  # type: ignore[arg-type]
        tally.add(of_request(fields, None if number % 7 == 0 else number or None))
        now[0] += 1
        if number % 40 == 0:
            flush()
    now[0] += 86_400
    flush()
    assert {place.minute for place in rows} == {100 * DAY_MINUTES}
    assert {place.name: value for place, value in rows.items()} == tally.fingerprint().counters()
    assert not watch.tallies
    assert not counters.totals
    assert not counters.waiting


def test_every_family_has_a_place() -> None:
    assert all(EMPTY.bins(family).shape == (size,) for family, size in FAMILIES.items())


# --- the classifier ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=4, max_size=60))
def test_the_area_is_sklearns(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([s for s, _ in pairs], dtype=float), np.array([one for _, one in pairs], dtype=float)
    if 0 < labels.sum() < len(labels):
        assert area(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def prompts(dice: np.random.Generator, many: int, together: bool) -> list[tuple[int, ...]]:
    """Prompts about one of two things; in half of them another word stands beside it."""
    found = []
    for _ in range(many):
        first = bool(dice.random() < 0.5)
        both = "alpha beta" if together else "alpha gamma"
        found.append(
            row_of(of_text(f"{both if first else 'delta'} " + " ".join(dice.choice(["a", "b", "c", "d"], 10))))
        )
    return found


def test_prompts_that_differ_are_told_apart_and_others_are_not() -> None:
    dice = np.random.default_rng(5)
    usual = [prompts(dice, 128, True) for _ in range(14)]
    score, most = told_apart(prompts(dice, 128, True), usual) or (0, 0)
    assert score < most < 0.8
    score, most = told_apart(prompts(dice, 128, False), usual) or (0, 0)
    assert score > most
    assert told_apart(prompts(dice, 30, True), usual) is None
    assert told_apart(prompts(dice, 128, True), usual[:3]) is None
