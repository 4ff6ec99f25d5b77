"""A locked package measured again: what is confirmed, what is stale, what is a regression, and that each says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from factories import made_plan
from gate_records import FULL, case, divergence, fingerprint, gate_of, performance
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.digest import digest_of
from quantplay.gate import decide
from quantplay.gate.moved import two_sided_sign_p
from quantplay.gate.revalidation import Finding, Locked, Today, judge_again
from quantplay.plan import Envelope, Gate
from quantplay.records import ArmRun, Evaluation, ItemResult, Revalidation, Spread, StackChange

NAMES = ("multi_step", "edge_cases")
UPGRADE = (StackChange(what="numpy", before="2.4.6", now="2.4.7"),)
ASKED = {
    "prompts": digest_of("prompts"), "tokens": digest_of("tokens"),
    "serving": {"cache of keys": "f16", "cache of values": "f16", "flash attention": "enabled"},
}  # fmt: skip


def locked(items: int = 600, gate: Gate | None = None, envelope: Envelope | None = None) -> Locked:
    """Two slices, locked with every answer right, questions and settings noted."""
    gate = gate or gate_of(NAMES)
    hardest = [f"{name}-{number:04d}" for name in NAMES for number in range(max(0, items - 20), items)]
    one = case(dict.fromkeys(NAMES, (0, 0)), items=items, gate=gate, envelope=envelope, hardest=hardest)
    evaluation = one.evaluation.model_copy(update={"candidate": one.evaluation.candidate.model_copy(update=ASKED)})
    plan = made_plan().model_copy(update={"gate": gate, "envelope": one.envelope})
    decision = decide(gate, one.baseline, evaluation, envelope=one.envelope, artifact=one.artifact)
    return Locked(
        package=digest_of("package"), plan=plan, baseline=one.baseline, artifact=one.artifact,
        evaluation_key=digest_of("evaluation"), evaluation=evaluation, decision=decision,
    )  # fmt: skip


LOCKED = locked()


def again(
    was: Locked, changes: tuple[StackChange, ...] = (), harness: str | None = None, **evaluation: Any
) -> Revalidation:
    now = was.evaluation.model_copy(update=evaluation)
    if harness is not None:
        now = now.model_copy(update={"harness": harness})
    stack = fingerprint() if not changes else fingerprint(threads=2)
    today = Today(stack=stack, harness=now.harness, changes=changes, evaluation=now, measured=digest_of("now"))
    return judge_again(was, today, trigger="by hand", at="2026-11-21T09:00:00+00:00")


def answered(was: Locked, change: Callable[[int, ItemResult], dict[str, Any]], **arm: Any) -> ArmRun:
    """Today's candidate: `change(number within its slice, item)` gives the fields that are not as locked."""
    run = was.evaluation.candidate
    items = tuple(item.model_copy(update=change(int(item.id.rsplit("-", 1)[1]), item)) for item in run.items)
    return run.model_copy(update={"items": items, **arm})


def lost(was: Locked, count: int, slice_name: str = "multi_step") -> ArmRun:
    def wrong(number: int, item: ItemResult) -> dict[str, Any]:
        return {"score": 0.0, "response": "no"} if item.slice == slice_name and number < count else {}

    return answered(was, wrong)


def losses(was: Locked, rise: Callable[[int], float]) -> dict[str, float]:
    known = was.evaluation.hardest_loss_candidate
    return {key: loss + rise(number) for number, (key, loss) in enumerate(known.items())}


# --- confirmed ------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    items=st.integers(4, 60),
    max_drop=st.floats(0.1, 90),
    factor=st.floats(1.05, 1.1),
    attempts=st.integers(1, 5),
    loss=st.floats(0.001, 2),
    upgraded=st.booleans(),
)
def test_identical_results_are_confirmed_whatever_the_plan(
    items: int, max_drop: float, factor: float, attempts: int, loss: float, upgraded: bool
) -> None:
    gate = gate_of(
        NAMES, max_drop, max_drop * factor, attempts=attempts,
        hardest={"max_drop": max_drop, "broken_drop": max_drop * factor, "max_loss_rise": loss, "broken_loss_rise": 2 * loss},
    )  # fmt: skip
    was = locked(items=items, gate=gate)
    found = again(was, changes=UPGRADE if upgraded else ())
    assert found.status == "confirmed"
    assert (found.lost, found.won, found.responses_changed) == (0, 0, 0)
    assert {one.verdict for one in found.slices} == {"pass"}
    assert not found.alarms


def test_a_harmless_upgrade_is_confirmed_and_named() -> None:
    found = again(LOCKED, changes=UPGRADE)
    assert found.status == "confirmed"
    assert found.changes == UPGRADE
    assert any("numpy: 2.4.6 → 2.4.7" in reason for reason in found.reasons)


def test_a_few_flips_within_the_bounds_are_confirmed_with_their_number() -> None:
    found = again(LOCKED, changes=UPGRADE, candidate=lost(LOCKED, 2))
    assert found.status == "confirmed"
    assert (found.lost, found.won, found.responses_changed, found.items) == (2, 0, 2, 1200)
    assert "2 of 1,200 answers changed" in found.reasons[0]
    assert found.against_baseline == "pass"


def test_another_harness_that_asks_and_finds_the_same_is_confirmed() -> None:
    assert again(LOCKED, harness=digest_of("other")).status == "confirmed"


def test_a_small_change_of_everything_is_stale_also_where_the_stack_changed() -> None:
    found = again(LOCKED, changes=UPGRADE, hardest_loss_candidate=losses(LOCKED, lambda _: 0.004))
    assert found.status == "stale"
    assert "further than harmless changes" in found.reasons[0]
    assert [alarm.name for alarm in found.alarms] == ["moved: loss of expected answers"]


# --- stale ----------------------------------------------------------------------------------------------------------


def test_the_same_small_change_without_a_reason_is_stale() -> None:
    found = again(LOCKED, hardest_loss_candidate=losses(LOCKED, lambda _: 0.004))
    assert found.status == "stale"
    assert "nothing that is recorded" in found.reasons[0]


def test_losses_that_scatter_raise_no_alarm() -> None:
    found = again(LOCKED, hardest_loss_candidate=losses(LOCKED, lambda number: 0.002 * (-1) ** number))
    assert (found.status, found.alarms) == ("confirmed", ())


def test_too_few_items_to_tell_is_stale_and_says_how_many_more() -> None:
    was = locked(items=40, gate=gate_of(NAMES, 10.0, 60.0))
    found = again(was, changes=UPGRADE, candidate=lost(was, 3))
    assert found.status == "stale"
    assert "more items" in found.reasons[0]


def test_another_cache_type_is_stale_and_named_though_every_answer_is_the_same() -> None:
    serving = ASKED["serving"] | {"cache of keys": "q4_0"}  # type: ignore[operator]
    found = again(LOCKED, candidate=answered(LOCKED, lambda *_: {}, serving=serving))
    assert found.status == "stale"
    assert "cache of keys than when it was locked: f16 then, q4_0 today" in found.reasons[0]


def test_the_same_words_scored_otherwise_are_stale_also_where_they_score_better() -> None:
    was = LOCKED
    wrong = answered(was, lambda number, _: {"score": 0.0} if number < 2 else {})
    found = again(was, changes=UPGRADE, candidate=wrong)
    assert found.status == "stale"
    assert "4 answers are word for word the locked ones" in found.reasons[0]


def test_another_harness_with_another_answer_is_stale() -> None:
    found = again(LOCKED, harness=digest_of("other"), candidate=lost(LOCKED, 1))
    assert found.status == "stale"
    assert found.against_baseline is None
    assert "The harness is another one" in found.reasons[0]


def test_another_harness_is_stale_where_the_locked_one_did_not_note_its_prompts() -> None:
    old = LOCKED.evaluation.model_copy(
        update={"candidate": answered(LOCKED, lambda *_: {}, prompts=None, tokens=None, serving={})}
    )
    assert again(replace(LOCKED, evaluation=old)).status == "confirmed"
    assert again(replace(LOCKED, evaluation=old), harness=digest_of("other")).status == "stale"


def test_what_could_not_be_measured_is_stale_and_says_what_is_missing() -> None:
    today = Today(
        stack=fingerprint(), harness=LOCKED.evaluation.harness, changes=(), evaluation=None, measured=None,
        hindrances=(Finding(status="stale", text="gate.jsonl is missing."),),
    )  # fmt: skip
    found = judge_again(LOCKED, today, trigger="schedule", at="2026-11-21T09:00:00+00:00")
    assert (found.status, found.reasons[0], found.items, found.measured) == ("stale", "gate.jsonl is missing.", 0, None)


def test_another_chip_than_the_plan_names_is_stale_and_its_speed_is_not_judged() -> None:
    was = locked(envelope=Envelope(target_chip="another chip", max_slowdown=1.0))
    slow = performance(time_per_token_ms=Spread(p50=9, p95=9))
    found = again(was, changes=UPGRADE, performance=slow)
    assert found.status == "stale"
    assert "another chip" in found.reasons[0]


# --- regressed ------------------------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(count=st.integers(120, 580), name=st.sampled_from(NAMES), upgraded=st.booleans())
def test_a_slice_beyond_its_bound_is_a_regression_that_names_it(count: int, name: str, upgraded: bool) -> None:
    found = again(LOCKED, changes=UPGRADE if upgraded else (), candidate=lost(LOCKED, count, name))
    assert found.status == "regressed"
    assert {one.slice for one in found.slices if one.verdict == "broken"} == {name}
    assert found.lost == count
    assert (
        name.replace("_", " ") in found.reasons[0].lower()
        or "Adds up" in found.reasons[0]
        or "Says so" in found.reasons[0]
    )


def test_losses_beyond_their_bound_are_a_regression() -> None:
    found = again(LOCKED, changes=UPGRADE, hardest_loss_candidate=losses(LOCKED, lambda _: 0.5))
    assert found.status == "regressed"


def test_small_losses_may_not_add_up_to_more_than_the_gate_allows() -> None:
    """Locked with a drop of 2.5 points, 2.5 more today: each within 4 points, 5 together are not."""
    one = case({"multi_step": (15, 0), "edge_cases": (0, 0)}, items=600)
    was = replace(
        LOCKED, baseline=one.baseline, evaluation=one.evaluation, plan=LOCKED.plan.model_copy(update={"gate": one.gate}),
        decision=decide(one.gate, one.baseline, one.evaluation, envelope=one.envelope, artifact=one.artifact),
    )  # fmt: skip
    assert was.decision.verdict == "pass"
    found = again(was, changes=UPGRADE, candidate=lost(was, 30))
    assert {one.verdict for one in found.slices} == {"pass"}
    assert (found.status, found.against_baseline) == ("regressed", "close")
    assert found.reasons[0].startswith("Against full precision")


@pytest.mark.parametrize(
    ("arm", "word"),
    [
        ({"prompts": digest_of("another template")}, "renders the prompts"),
        ({"tokens": digest_of("another tokenizer")}, "other tokens"),
        ({"model": digest_of("another file")}, "Another file"),
    ],
)
def test_not_being_asked_the_same_is_a_regression(arm: dict[str, Any], word: str) -> None:
    found = again(LOCKED, candidate=answered(LOCKED, lambda *_: {}, **arm))
    assert found.status == "regressed"
    assert word in found.reasons[0]


def test_items_that_are_gone_are_a_regression_not_a_better_score() -> None:
    run = LOCKED.evaluation.candidate
    found = again(LOCKED, candidate=run.model_copy(update={"items": run.items[:-3]}))
    assert found.status == "regressed"
    assert "3 items were answered only once" in found.reasons[0]


def test_a_promise_of_speed_that_is_not_kept_is_a_regression() -> None:
    was = locked(envelope=Envelope(max_slowdown=1.2))
    assert was.decision.envelope_met
    found = again(was, changes=UPGRADE, performance=performance(time_per_token_ms=Spread(p50=5, p95=6)))
    assert found.status == "regressed"
    assert "envelope" in found.reasons[0]


# --- alarms ---------------------------------------------------------------------------------------------------------


def alarms(**evaluation: Any) -> list[str]:
    return [alarm.name for alarm in again(LOCKED, changes=UPGRADE, **evaluation).alarms]


def test_each_sign_has_its_alarm() -> None:
    reworded = answered(LOCKED, lambda number, _: {"response": "other words"} if number < 20 else {})
    assert alarms(candidate=reworded) == ["moved: answers"]
    assert alarms(divergence=divergence(mean_kl_nats=0.02)) == ["moved: divergence"]
    assert alarms(divergence=divergence(perplexity_reference=4.1)) == ["moved: perplexity of full precision"]
    assert alarms(divergence=divergence(perplexity_candidate=4.2)) == ["moved: perplexity of the candidate"]
    assert alarms(reference_performance=FULL, performance=performance(time_per_token_ms=Spread(p50=4, p95=4))) == [
        "slower"
    ]


@given(total=st.integers(1, 60), data=st.data())
def test_the_sign_test_is_a_probability_and_symmetric(total: int, data: st.DataObject) -> None:
    up = data.draw(st.integers(0, total))
    p = two_sided_sign_p(up, total)
    assert 0 < p <= 1
    assert p == two_sided_sign_p(total - up, total)


def test_records_of_it_come_back_from_their_json() -> None:
    found = again(LOCKED, changes=UPGRADE, candidate=lost(LOCKED, 200))
    assert Revalidation.model_validate(found.body()) == found
    assert isinstance(Evaluation.model_validate(LOCKED.evaluation.body()), Evaluation)
