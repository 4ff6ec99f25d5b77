"""Clusters, bootstrap-t, the three kinds of drop, and Holm's bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from quantplay.stats import FlipDrop, cluster_sums, design_effect, holm_lower_bounds, loss_rise, score_drop
from quantplay.stats.bootstrap import bootstrap_t

LEVEL = 0.05
changes = st.lists(st.sampled_from([-1, 0, 0, 0, 1]), min_size=2, max_size=60)


@given(changes)
def test_one_item_a_document_has_no_design_effect(values: list[int]) -> None:
    assert design_effect(values, range(len(values))) == 1.0


def test_documents_that_change_as_one_count_as_one_item() -> None:
    generator = np.random.default_rng(1)
    signs = generator.choice([-1, 0, 1], p=[0.2, 0.5, 0.3], size=200)
    values, documents = np.repeat(signs, 4), np.repeat(np.arange(200), 4)
    assert design_effect(values, documents.tolist()) == pytest.approx(4, rel=0.05)
    together, alone = score_drop(values, documents.tolist()), score_drop(signs, range(200))
    assert together.upper(LEVEL) == pytest.approx(alone.upper(LEVEL), abs=0.003)


def test_independent_items_of_shared_documents_have_an_effect_near_one() -> None:
    generator = np.random.default_rng(2)
    values = generator.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=2000)
    assert 1 <= design_effect(values, np.repeat(np.arange(1000), 2).tolist()) < 1.1


def test_design_effect_agrees_with_a_jackknife_over_documents() -> None:
    generator = np.random.default_rng(3)
    sizes = generator.integers(1, 6, size=300)
    documents = np.repeat(np.arange(300), sizes)
    values = generator.choice([-1, 0, 1], size=300)[documents] * generator.integers(0, 2, len(documents))
    without = np.array([values[documents != document].mean() for document in range(300)])
    jackknife = ((without - without.mean()) ** 2).sum() * 299 / 300
    independent = values.var(ddof=1) / len(values)
    assert design_effect(values, documents.tolist()) == pytest.approx(jackknife / independent, rel=0.02)


def test_without_a_flip_documents_count_once() -> None:
    """Nothing is known about how flips come together, so 600 items of 300 documents are worth 300 items."""
    assert design_effect(np.zeros(600), np.repeat(np.arange(300), 2).tolist()) == 2.0


def test_a_single_document_bounds_nothing() -> None:
    for drop in (score_drop([0, 1, 0], "aaa"), score_drop([0, 0.5, 0], "aaa", graded=True)):
        assert (drop.lower(LEVEL), drop.upper(LEVEL)) == (-1, 1)
        assert drop.p_above(0.0) == 1


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [([], [], "one difference"), ([0.5], ["a"], "graded"), ([2], ["a"], r"\[-1, 1\]"), ([0, 1], ["a"], "one document")],
)
def test_unusable_differences_are_refused(values: list[float], clusters: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_drop(values, clusters)


@given(changes)
@settings(max_examples=20, deadline=None)
def test_graded_bounds_are_never_inside_the_score_bound(values: list[int]) -> None:
    flips = score_drop(values, range(len(values)))
    graded = score_drop(values, range(len(values)), graded=True, seed=1)
    assert graded.upper(LEVEL) >= flips.upper(LEVEL) - 1e-12
    assert graded.lower(LEVEL) <= flips.lower(LEVEL) + 1e-12


def test_graded_without_any_change_has_the_width_of_the_score_bound() -> None:
    graded = score_drop(np.zeros(50), range(50), graded=True)
    assert graded.upper(LEVEL) == pytest.approx(1 - LEVEL ** (1 / 50))


def test_bootstrap_is_seeded() -> None:
    values = np.random.default_rng(4).normal(size=40)
    uppers = [loss_rise(values, range(40), seed=seed).upper(LEVEL) for seed in (7, 7, 8)]
    assert uppers[0] == uppers[1] != uppers[2]


def test_bootstrap_agrees_with_student_where_student_is_right() -> None:
    values = np.random.default_rng(5).normal(0.2, 1, size=400)
    half_width = student.isf(LEVEL, 399) * values.std(ddof=1) / 20
    rise = loss_rise(values, range(400))
    assert rise.upper(LEVEL) == pytest.approx(values.mean() + half_width, abs=0.01)
    assert rise.lower(LEVEL) == pytest.approx(values.mean() - half_width, abs=0.01)


def test_bootstrap_with_clusters_of_different_sizes_follows_the_clusters() -> None:
    generator = np.random.default_rng(6)
    sizes = generator.integers(1, 5, size=200)
    documents = np.repeat(np.arange(200), sizes)
    values = generator.normal(size=200)[documents]
    clustered = loss_rise(values, documents.tolist()).upper(LEVEL) - values.mean()
    naive = loss_rise(values, range(len(values))).upper(LEVEL) - values.mean()
    assert clustered > 1.4 * naive


def test_coverage_of_the_loss_bound_on_skewed_losses() -> None:
    """A few items lose a lot: 300 samples of 120 log-normal rises; the bound misses the true mean in about 5 %."""
    generator = np.random.default_rng(7)
    truth = np.exp(0.5)
    missed = 0
    for sample in range(300):
        values = generator.lognormal(size=120)
        sums = cluster_sums(values, range(120))
        missed += bootstrap_t(sums, scale=values.max(), seed=sample, resamples=399).upper(LEVEL) < truth
    assert missed / 300 < 0.10  # the normal bound misses in 13 %


def test_equal_arms_have_no_rise() -> None:
    rise = loss_rise(np.zeros(30), range(30))
    assert (rise.lower(LEVEL), rise.upper(LEVEL), rise.p_above(0.1), rise.p_above(-0.1)) == (0, 0, 1, 0)


def flips(lost: int, won: int = 0, items: int = 600) -> FlipDrop:
    return FlipDrop(items=items, clusters=items, lost=lost, won=won)


counts = st.lists(st.tuples(st.integers(0, 150), st.integers(0, 60)), min_size=1, max_size=7)


def holm_rejects(chances: list[float]) -> list[bool]:
    """Textbook adjusted p: the running maximum of (m - r) p_(r)."""
    order = np.argsort(chances)
    adjusted = np.maximum.accumulate((len(chances) - np.arange(len(chances))) * np.asarray(chances)[order])
    rejected = np.empty(len(chances), dtype=bool)
    rejected[order] = adjusted < LEVEL
    return rejected.tolist()


@given(counts, st.floats(0.01, 0.15))
@settings(deadline=None)
def test_holm_bounds_say_what_holms_test_says(pairs: list[tuple[int, int]], threshold: float) -> None:
    drops = [flips(*pair) for pair in pairs]
    bounds = holm_lower_bounds(drops, [threshold] * len(drops), LEVEL)
    assert [bound > threshold for bound in bounds] == holm_rejects([drop.p_above(threshold) for drop in drops])
    for drop, bound in zip(drops, bounds, strict=True):
        assert min(threshold, drop.lower(LEVEL / len(drops))) <= bound <= drop.lower(LEVEL)


def test_holm_agrees_with_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    drops = [flips(lost, 10) for lost in (20, 48, 52, 56, 60, 75, 90)]
    chances = [drop.p_above(0.05) for drop in drops]
    theirs = multipletests(chances, alpha=LEVEL, method="holm")[0].tolist()
    assert holm_rejects(chances) == theirs
    assert [bound > 0.05 for bound in holm_lower_bounds(drops, [0.05] * 7, LEVEL)] == theirs
    assert 0 < sum(theirs) < 7


def test_holm_with_one_quantity_is_the_plain_bound() -> None:
    assert holm_lower_bounds([flips(80, 10)], [0.05], LEVEL) == (flips(80, 10).lower(LEVEL),)


def test_holm_mixes_kinds() -> None:
    rises = loss_rise(np.random.default_rng(8).normal(1, 0.3, size=100), range(100))
    bounds = holm_lower_bounds([flips(5), rises, flips(120)], [0.06, 0.2, 0.06], LEVEL)
    assert [bound > limit for bound, limit in zip(bounds, [0.06, 0.2, 0.06], strict=True)] == [False, True, True]


@pytest.mark.parametrize(
    "drop", [flips(14, 10), score_drop(np.repeat([0.5, -0.5, 0], [14, 10, 576]), range(600), graded=True)]
)
def test_items_to_pass_shrink_with_the_tolerance_and_can_be_infinite(drop: FlipDrop) -> None:
    assert drop.items_to_pass(0.02, LEVEL) > drop.items_to_pass(0.03, LEVEL) > 0
    assert drop.items_to_pass(0.0001, LEVEL) == np.inf
