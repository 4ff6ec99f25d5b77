"""Coverage: every request is in one place, only validated volume counts, and pandas says the same."""

from __future__ import annotations

import pandas as pd
import pytest
from adoption_facts import BROKEN, CONFIRMED, MODELS, OPEN, PACKAGES, STALE, VOLUMES, facts, package, row, run
from hypothesis import given, settings

from quantplay.adoption.coverage import covered
from quantplay.adoption.facts import KINDS, Served, kind_of
from quantplay.adoption.report import measured


def frame_of(rows: list[Served]) -> pd.DataFrame:
    """The same rows, and who counts by rules written a second time."""
    frame = pd.DataFrame([
        {
            "model": one.model or f"name {one.name}", "requests": one.requests, "tokens": one.tokens, "arm": one.arm,
            "key": one.package, "taken_back": one.taken_back, "day": pd.Timestamp(one.day),
        }
        for one in rows
    ])  # fmt: skip
    stands = pd.DataFrame([
        {"key": key, "good": one.status == "confirmed" and one.incident is None, "from": pd.Timestamp(one.locked_on)}
        for key, one in PACKAGES.items()
    ])  # fmt: skip
    frame = frame.merge(stands, on="key", how="left")
    frame["good"] = (
        (frame["arm"] == "quantized") & frame["good"].eq(True) & ~frame["taken_back"] & (frame["day"] >= frame["from"])
    )
    return frame


@settings(deadline=None)
@given(VOLUMES)
def test_pandas_says_the_same(rows: list[Served]) -> None:
    told = covered(rows, PACKAGES, frozenset())
    if not rows:
        assert (told.covered, told.tokens_covered, told.settled, told.requests) == (None, None, None, 0)
        return
    frame = frame_of(rows)
    assert told.requests == frame["requests"].sum()
    assert told.covered == pytest.approx(frame.loc[frame["good"], "requests"].sum() / frame["requests"].sum())
    known = frame.dropna(subset=["tokens"])
    assert told.requests_with_tokens == known["requests"].sum()
    if known["tokens"].sum():
        assert told.tokens_covered == pytest.approx(
            known.loc[known["good"], "tokens"].sum() / known["tokens"].sum(), abs=1e-12
        )
    else:
        assert told.tokens_covered is None
    by_model = frame.groupby("model")["requests"].sum().sort_values(ascending=False)
    models = measured(facts(*rows)).models
    assert [one.requests for one in models] == list(by_model)
    assert {one.model or f"name {one.name}": one.requests for one in models} == by_model.to_dict()


@settings(deadline=None)
@given(VOLUMES)
def test_parts_add_up_and_the_largest_come_first(rows: list[Served]) -> None:
    found = measured(facts(*rows))
    told = found.coverage
    assert sum(told.by.values()) == told.requests == sum(one.requests for one in found.models)
    assert sum(told.tokens_by.values()) == told.tokens
    assert sum(one.requests for one in found.apart) == sum(
        told.by[kind] for kind in ("stale", "regressed", "unvalidated")
    )
    assert [one.rank for one in found.models] == list(range(1, len(found.models) + 1))
    assert all(
        a.requests >= b.requests and a.up_to_here <= b.up_to_here
        for a, b in zip(found.models, found.models[1:], strict=False)
    )
    for one in found.models:
        assert sum(one.by.values()) == one.requests
    if found.models:
        assert sum(one.share for one in found.models) == pytest.approx(1)
        assert found.models[-1].up_to_here == pytest.approx(1)
        assert told.covered is not None
        assert told.settled is not None
        assert 0 <= told.covered <= told.settled <= 1
    assert type(found).model_validate(found.body()) == found


@settings(deadline=None)
@given(VOLUMES, VOLUMES)
def test_volume_that_is_not_validated_never_raises_coverage(rows: list[Served], more: list[Served]) -> None:
    added = [one for one in more if kind_of(one, PACKAGES) != "validated"]
    before, after = (covered(some, PACKAGES, frozenset()) for some in (rows, [*rows, *added]))
    assert before.covered is None or after.covered is None or after.covered <= before.covered
    assert before.covered is not None or not after.covered


@settings(deadline=None)
@given(VOLUMES)
def test_a_package_that_goes_stale_never_raises_coverage(rows: list[Served]) -> None:
    worse = {key: package(1, key=key, model=one.model, status="stale") for key, one in PACKAGES.items()}
    before, after = covered(rows, PACKAGES, frozenset()).covered, covered(rows, worse, frozenset()).covered
    assert (before is None) == (after is None)
    assert not after


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (row(package=CONFIRMED.key), "validated"),
        (row(package=CONFIRMED.key, taken_back=True), "regressed"),
        (row(package=CONFIRMED.key, day=CONFIRMED.locked_on.replace(month=8)), "unvalidated"),
        (row(package=CONFIRMED.key, day=None), "validated"),
        (row(package=STALE.key), "stale"),
        (row(package=BROKEN.key), "regressed"),
        (row(package=OPEN.key), "regressed"),
        (row(package="f" * 64), "unvalidated"),
        (row(package=None), "unvalidated"),
        (row(arm="full_precision"), "full_precision"),
        (row(arm="untold"), "untold"),
    ],
)
def test_what_counts_as_what(one: Served, kind: str) -> None:
    assert kind_of(one, PACKAGES) == kind
    assert kind in KINDS


def test_a_model_with_a_package_that_serves_nothing_is_not_covered() -> None:
    found = measured(facts(row(arm="full_precision"), row(arm="untold", name="other")))
    assert found.coverage.covered == 0
    (one,) = found.models
    assert (one.state, one.covered, one.places) == ("validated", 0, ("desk", "other"))
    assert "serves none of this" in one.why


def test_what_models_are_without_a_package() -> None:
    moves = ("Already small enough.",)
    tried = (
        run(1, model=MODELS[0], outcome="close", package=None),
        run(2, model=MODELS[0], outcome="declined", package=None, left_at="envelope", wrong_moves=moves),
        run(3, model=MODELS[1], outcome="broken", package=None),
        run(4, model=MODELS[1], outcome="internal_fault", state="failed", package=None),
        run(5, model=MODELS[2], outcome=None, state="running", package=None),
    )
    rows = [row(f"m{n}", arm="untold", model=model, requests=100 - n) for n, model in enumerate((*MODELS, None))]
    found = measured(facts(*rows, packages={}, tried=tried))
    assert [one.state for one in found.models] == ["declined", "tried", "under_way", "never", "never"]
    assert found.models[0].why == moves[0]
    assert found.models[1].why.endswith("broken.")
    assert found.coverage.covered == 0
    assert (found.coverage.declined, found.coverage.settled) == (100, 100 / 490)
    assert [(one.requests, one.why) for one in found.declined] == [(100, moves[0])]
    assert found.coverage.unattributed == 96


def test_declined_counts_for_only_with_a_reason_and_nothing_locked() -> None:
    one = run(1, outcome="declined", package=None, wrong_moves=("Too little volume.",))
    untold = row(arm="untold")
    assert measured(facts(untold, packages={}, tried=(one,))).coverage.settled == 1
    assert measured(facts(untold, packages={}, tried=(run(1, outcome="declined", package=None),))).coverage.settled == 0
    assert measured(facts(untold, tried=(one,))).coverage.settled == 0  # a package of it is locked
    again = (one, run(2, outcome="close", package=None))
    assert measured(facts(untold, packages={}, tried=again)).coverage.settled == 0
    quantized = measured(facts(row(), packages={}, tried=(one,)))
    assert quantized.coverage.settled == 0  # declined, and somebody serves it quantized all the same
    assert quantized.models[0].state == "unvalidated"


def test_models_without_volume_are_named_and_have_none() -> None:
    moves = ("No tolerance for loss.",)
    tried = (run(1, outcome="locked"), run(2, model="9" * 64, outcome="declined", package=None, wrong_moves=moves))
    found = measured(facts(tried=tried, packages={CONFIRMED.key: CONFIRMED}))
    assert found.coverage.covered is None
    assert [(one.name, one.state) for one in found.without_volume] == [("plan-1", "validated")]
    assert [(one.name, one.requests) for one in found.declined] == [("plan-2", None)]
