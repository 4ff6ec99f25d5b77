"""The measures behind the calibration rules against independent oracles."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from calibration_sets import KINDS
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.calibration import domain
from quantplay.calibration.domain import BUCKETS, FALSE_ALARMS, compare, divergences
from quantplay.calibration.duplicates import ALIKE, near_copies
from quantplay.calibration.samples import Sample, counted
from quantplay.calibration.topics import largest_group
from quantplay.evalset import TextSample


def samples_of(texts: list[str]) -> tuple[Sample, ...]:
    return counted([TextSample(f"s{number}", text) for number, text in enumerate(texts)], 10_000, None).samples


def jaccard(one: str, other: str) -> float:
    """By the definition, over runs of three words."""
    a, b = one.split(), other.split()
    runs = [{tuple(words[i : i + 3]) for i in range(len(words) - 2)} or {tuple(words)} for words in (a, b)]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


WORDS = [f"word{number}" for number in range(400)]


@given(seed=st.integers(0, 2**32 - 1), changes=st.lists(st.integers(0, 6), min_size=2, max_size=6))
@settings(deadline=None, max_examples=60)
def test_near_copies_are_those_that_brute_force_finds(seed: int, changes: list[int]) -> None:
    dice = Random(seed)
    first = dice.choices(WORDS, k=dice.randint(20, 60))
    texts = [" ".join(first)]
    for change in changes:
        words = list(first)
        for place in dice.sample(range(len(words)), change):
            words[place] = dice.choice(WORDS)
        texts.append(" ".join(words))
    expected = {}
    for index, text in enumerate(texts):
        best = max((jaccard(text, other) for other in texts[:index]), default=0.0)
        if best >= ALIKE:
            expected[f"s{index}"] = best
    assert {one: alike for one, _, alike in near_copies(samples_of(texts))} == pytest.approx(expected)


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=6, max_size=6), min_size=2, max_size=6).filter(
        lambda rows: all(map(sum, rows))
    )
)
def test_the_divergence_is_scipys(rows: list[list[int]]) -> None:
    from scipy.spatial.distance import jensenshannon

    counts = np.zeros((len(rows), BUCKETS), dtype=np.float32)
    counts[:, :6] = rows
    total = counts.sum(axis=0)
    for row, value in zip(counts, divergences(counts, total), strict=True):
        assert value == pytest.approx(jensenshannon(np.float64(row), np.float64(total - row), base=2) ** 2, abs=1e-8)


def test_the_samples_most_unlike_the_traffic_are_the_strange_ones() -> None:
    """Area under the curve of the ranking, by scipy's Mann-Whitney U."""
    from scipy.stats import mannwhitneyu

    dice = Random(4)
    strange = set(dice.sample(range(128), 20))
    mixed = [KINDS["sql" if number in strange else "support"](dice) for number in range(128)]
    found = compare(mixed, [KINDS["support"](dice) for _ in range(200)])
    rank = {index: place for place, index in enumerate(found.unlike)}
    u = mannwhitneyu([-rank[i] for i in strange], [-rank[i] for i in rank if i not in strange]).statistic
    assert u / (20 * 108) > 0.99
    assert found.differs
    assert found.divergence > found.limit


def test_false_alarms_stay_at_the_stated_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 sets drawn from the very traffic: more than 3 alarms would happen to a correct test once in 300 times."""
    monkeypatch.setattr(domain, "EXCHANGES", 199)
    dice = Random(6)
    pool = [" ".join(dice.choices(WORDS[: dice.choice((5, 50, 400))], k=dice.randint(3, 40))) for _ in range(160)]
    alarms = 0
    for number in range(60):
        dice.shuffle(pool)
        alarms += compare(pool[:64], pool[64:], seed=number).differs
    assert alarms <= 3
    assert FALSE_ALARMS == 0.01


def test_the_largest_group_by_the_definition() -> None:
    same = [f"please reset the password of user {number} in the portal today" for number in range(6)]
    others = ["the glacier melts", "print the invoice", "where is my parcel now"]
    group = largest_group(samples_of([*others, *same]))
    assert group.members == ("s3", "s4", "s5", "s6", "s7", "s8")
    assert group.share == pytest.approx(6 / 9)


@given(st.text(max_size=200), st.integers(1, 40))
def test_what_is_read_is_the_head_of_the_text(text: str, tokens: int) -> None:
    (sample,) = counted([TextSample("s", text)], tokens, None).samples
    assert text.startswith(sample.read)
    assert sample.read_length == min(sample.length, tokens)
    (again,) = counted([TextSample("s", sample.read)], tokens, None).samples
    assert again.length == sample.read_length
