"""Whole records in, a decision out."""

from __future__ import annotations

import random
from typing import Any

import pytest
from gate_records import Case, arm, case, divergence, fingerprint, gate_of
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.digest import digest_of
from quantplay.errors import InputError, IntegrityError
from quantplay.gate import decide
from quantplay.plan import Envelope
from quantplay.records import Decision, Record, SliceVerdict, Verdict

CALM = {"multi_step": (4, 3), "output_format": (0, 1)}
ORDER: tuple[Verdict, ...] = ("pass", "inconclusive", "close", "broken")


def decided(given_case: Case, **more: Any) -> Decision:
    args, kwargs = given_case.arguments()
    return decide(*args, **kwargs, **more)


def row(decision: Decision, name: str, metric: str = "score") -> SliceVerdict:
    return next(item for item in decision.slices if (item.slice, item.metric) == (name, metric))


def changed(record: Record, **update: Any) -> Any:
    return record.model_copy(update=update)


def test_a_calm_candidate_is_locked() -> None:
    made = case(CALM)
    decision = decided(made)
    assert (decision.verdict, decision.envelope_met, decision.next_play) == ("pass", True, "lock")
    assert [(s.slice, s.metric) for s in decision.slices] == [
        ("multi_step", "score"),
        ("output_format", "score"),
        ("hardest", "score"),
        ("hardest", "gold_loss"),
    ]
    assert (decision.attempt, decision.attempts, decision.alpha) == (1, 1, 0.05)
    assert decision.gate == made.gate.digest()
    assert decision.baseline == made.evaluation.baseline
    assert decision.evaluation == made.evaluation.digest()
    assert Decision.model_validate(decision.body()) == decision
    steps = row(decision, "multi_step")
    assert (steps.items, steps.clusters, steps.lost, steps.won) == (600, 600, 4, 3)
    assert steps.drop == pytest.approx(100 / 600)
    assert steps.baseline - steps.candidate == pytest.approx(steps.drop)
    assert steps.interval_low < steps.drop < steps.interval_high == steps.upper <= steps.max_drop
    assert steps.mcnemar_p == pytest.approx(1.0)
    assert steps.items_missing is None


@pytest.mark.parametrize(
    ("changes", "verdict", "next_play"),
    [
        ({"multi_step": (47, 0), "output_format": (0, 0)}, "close", "mixed precision"),
        ({"multi_step": (120, 5), "output_format": (0, 0)}, "broken", "quantization-aware training"),
        ({"multi_step": (30, 12), "output_format": (0, 0)}, "inconclusive", "more items"),
        ({"multi_step": (120, 5), "output_format": (47, 0)}, "broken", "quantization-aware training"),
    ],
)
def test_verdicts_and_the_play_that_follows(
    changes: dict[str, tuple[int, int]], verdict: Verdict, next_play: str
) -> None:
    decision = decided(case(changes))
    assert (decision.verdict, decision.next_play) == (verdict, next_play)
    assert decision.reasons[0] == row(decision, "multi_step").reason


def test_reasons_are_sentences_with_numbers_and_units() -> None:
    titles = {"multi_step": "Multi-step reasoning"}
    close = row(decided(case({"multi_step": (47, 0)}), titles=titles), "multi_step").reason
    assert close == "Multi-step reasoning lost 7.8 points (90 % interval 6.1 to 9.9); the plan allows 4.0 points."
    broken = row(decided(case({"multi_step": (120, 5)}), titles=titles), "multi_step").reason
    assert broken.startswith("Multi-step reasoning lost 19.2 points (90 % interval ")
    assert "from 8.0 points on the plan calls it broken" in broken
    open_question = row(decided(case({"multi_step": (30, 12)})), "multi_step")
    assert open_question.reason.startswith("Multi step lost 3.0 points")
    assert f"about {open_question.items_missing:,} more items" in open_question.reason
    gained = row(decided(case({"multi_step": (0, 6)})), "multi_step").reason
    assert gained.startswith("Multi step gained 1.0 points")


def test_a_share_that_conversion_cost_is_named() -> None:
    reason = row(decided(case({"multi_step": (60, 0)}, conversion=30)), "multi_step")
    assert reason.conversion_drop == pytest.approx(5)
    assert "5.0 points of it come from converting" in reason.reason


def test_the_hardest_items_fail_on_their_own() -> None:
    hardest = [f"multi_step-{i:04d}" for i in range(300)]
    decision = decided(case({"multi_step": (40, 40)}, hardest=hardest, gate=gate_of(["multi_step"], 10, 20)))
    assert row(decision, "multi_step").verdict == "pass"
    assert row(decision, "hardest").lost == 40
    assert row(decision, "hardest").verdict == "pass"
    lossy = decided(case({"multi_step": (60, 60)}, hardest=hardest[:60], gate=gate_of(["multi_step"], 10, 20)))
    assert row(lossy, "multi_step").verdict == "pass"
    assert (row(lossy, "hardest").verdict, lossy.verdict) == ("broken", "broken")


@pytest.mark.parametrize(("rise", "verdict"), [(0.0, "pass"), (0.02, "pass"), (0.2, "close"), (0.5, "broken")])
def test_the_gold_answers_loss_decides_too(rise: float, verdict: Verdict) -> None:
    decision = decided(case(CALM, loss_rise=rise))
    loss = row(decision, "hardest", "gold_loss")
    assert (loss.verdict, decision.verdict, loss.unit) == (verdict, verdict, "nats")
    assert loss.candidate - loss.baseline == pytest.approx(loss.drop)
    assert (loss.mcnemar_p, loss.conversion_drop) == (None, None)


def test_graded_answers_are_bootstrapped_and_have_no_mcnemar() -> None:
    made = case(CALM)
    items = [
        changed(item, score=0.75, graded=True) if item.id == "multi_step-0010" else item
        for item in made.evaluation.candidate.items
    ]
    evaluation = changed(made.evaluation, candidate=arm("candidate", items))
    decision = decided(changed_case(made, evaluation=evaluation))
    assert row(decision, "multi_step").mcnemar_p is None
    assert row(decision, "multi_step").lost == 5
    assert row(decision, "multi_step").drop == pytest.approx(125 / 600)
    assert row(decision, "output_format").mcnemar_p is not None


def changed_case(made: Case, **update: Any) -> Case:
    values = {name: getattr(made, name) for name in ("gate", "baseline", "evaluation", "envelope", "artifact")}
    return Case(**(values | update))


@given(st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_the_order_of_the_items_does_not_matter(seed: int) -> None:
    made = case({"multi_step": (20, 5), "output_format": (3, 3)}, items=200, a_document=2)
    shuffled = list(made.evaluation.candidate.items)
    random.Random(seed).shuffle(shuffled)
    hardest = list(made.baseline.hardest)
    random.Random(seed).shuffle(hardest)
    other = changed_case(
        made,
        evaluation=changed(made.evaluation, candidate=arm("candidate", shuffled)),
        baseline=changed(made.baseline, hardest=tuple(hardest)),
    )
    assert decided(other).slices == decided(made).slices


def test_the_order_of_the_slices_in_the_plan_does_not_matter() -> None:
    changes = {"multi_step": (120, 5), "output_format": (120, 5), "edge_cases": (60, 0)}
    decisions = [decided(case(changes, gate=gate_of(names))) for names in (list(changes), sorted(changes))]
    assert decisions[0].reasons == decisions[1].reasons
    assert {s.slice: s for s in decisions[0].slices} == {s.slice: s for s in decisions[1].slices}


@given(st.integers(0, 60), st.integers(0, 30), st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_more_losses_never_improve_the_decision(lost: int, won: int, more: int) -> None:
    before, after = (decided(case({"multi_step": (k, won)}, items=400)).verdict for k in (lost, lost + more))
    assert ORDER.index(after) >= ORDER.index(before)


@pytest.mark.parametrize(("items", "verdict"), [(400, "pass"), (40, "inconclusive")])
def test_identical_arms_pass_when_there_are_enough_items(items: int, verdict: Verdict) -> None:
    assert decided(case({"multi_step": (0, 0)}, items=items)).verdict == verdict


def test_items_of_one_document_count_less() -> None:
    alone, shared = (row(decided(case(CALM, a_document=k)), "multi_step") for k in (1, 4))
    assert shared.clusters == 150
    assert shared.upper > alone.upper


def test_a_second_attempt_is_judged_at_half_the_level() -> None:
    made = case({"multi_step": (20, 8)}, gate=gate_of(["multi_step"], attempts=2))
    decision = decided(made, attempt=2)
    assert (decision.attempt, decision.attempts, decision.alpha) == (2, 2, 0.025)
    assert row(decision, "multi_step").upper > row(decision, "multi_step").interval_high


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_look_too_many_is_refused(attempt: int) -> None:
    with pytest.raises(InputError, match="as often as the plan allows"):
        decided(case(CALM), attempt=attempt)


def test_the_items_missing_would_settle_it() -> None:
    missing = row(decided(case({"multi_step": (3, 3)}, items=100)), "multi_step").items_missing
    assert missing is not None
    more = 100 + missing
    settled = decided(case({"multi_step": (3 * more // 100, 3 * more // 100)}, items=more))
    assert row(settled, "multi_step").verdict == "pass"


def test_too_few_items_to_call_it_close_say_so_and_how_many_would_tell() -> None:
    weak = row(decided(case({"multi_step": (9, 3)}, items=100)), "multi_step")
    assert (weak.verdict, weak.drop > weak.max_drop, weak.lower_loss <= 0) == ("inconclusive", True, True)
    assert weak.reason.startswith("Multi step lost 6.0 points")
    assert "so few items can't tell this from no loss at all" in weak.reason
    assert weak.items_missing is not None
    assert f"about {weak.items_missing:,} more items" in weak.reason
    more = 100 + weak.items_missing
    told = row(decided(case({"multi_step": (round(0.09 * more), round(0.03 * more))}, items=more)), "multi_step")
    assert (told.verdict, told.lower_loss > 0) == ("close", True)
    assert row(decided(case({"multi_step": (round(0.06 * more),) * 2}, items=more)), "multi_step").verdict == "pass"


def test_a_gate_tighter_than_the_noise_floor_is_refused() -> None:
    with pytest.raises(InputError, match="noise floor") as caught:
        decided(case(CALM, floor={"multi_step": 4.5, "output_format": 0.5}))
    assert [fault.where for fault in caught.value.faults] == ["gate.slices.multi_step.max_drop"]


def test_a_gated_slice_without_items_is_refused() -> None:
    with pytest.raises(InputError, match=r"gate\.slices\.long_context"):
        decided(case(CALM, gate=gate_of(["multi_step", "long_context"])))


def test_hardest_items_from_one_document_are_refused() -> None:
    with pytest.raises(InputError, match="single document"):
        decided(case(CALM, hardest=["multi_step-0001"]))


def broken_records() -> list[tuple[str, Case]]:
    made = case(CALM)
    candidate, evaluation, baseline = made.evaluation.candidate, made.evaluation, made.baseline
    items = candidate.items

    def with_items(new: Any) -> Case:
        return changed_case(made, evaluation=changed(evaluation, candidate=changed(candidate, items=tuple(new))))

    other = digest_of("other")
    return [
        ("lacks 1 items", with_items(items[1:])),
        ("answers an item twice", with_items([*items, items[0]])),
        ("never answered", with_items([*items, changed(items[0], id="new")])),
        ("another slice or document", with_items([changed(items[0], slice="output_format"), *items[1:]])),
        ("another slice or document", with_items([changed(items[0], cluster="elsewhere"), *items[1:]])),
        ("another harness", changed_case(made, evaluation=changed(evaluation, harness=other))),
        ("another harness", changed_case(made, evaluation=changed(evaluation, candidate=changed(candidate, harness=other)))),
        ("another file", changed_case(made, artifact=changed(made.artifact, sha256=other))),
        ("can't decide", changed_case(made, evaluation=changed(evaluation, candidate=changed(candidate, split="dev")))),
        ("lacks 1 items", changed_case(made, baseline=changed(baseline, reference=changed(baseline.reference, items=baseline.reference.items[1:])))),
        ("incomplete", changed_case(made, evaluation=changed(evaluation, hardest_loss_candidate={}))),
    ]  # fmt: skip


@pytest.mark.parametrize(("message", "made"), broken_records())
def test_records_that_do_not_belong_together_are_refused(message: str, made: Case) -> None:
    with pytest.raises(IntegrityError, match=message):
        decided(made)


def test_unknown_or_missing_hardest_items_are_refused() -> None:
    made = case(CALM)
    for hardest, message in (
        (("nowhere",), "not in the gate split"),
        ((), "froze no hardest"),
        (("multi_step-0001",) * 2, "twice"),
    ):
        with pytest.raises(InputError, match=message):
            decided(changed_case(made, baseline=changed(made.baseline, hardest=hardest)))


@pytest.mark.parametrize(
    ("envelope", "name", "measured", "met"),
    [
        ({"max_artifact_mib": 3.0}, "artifact size", 3.0, True),
        ({"max_artifact_mib": 2.9}, "artifact size", 3.0, False),
        ({"memory_mib": 99}, "peak memory", 100.0, False),
        ({"max_time_to_first_token_ms": 30}, "time to first token, 95th percentile", 30.0, True),
        ({"min_tokens_per_second": 1001}, "generation speed", 1000.0, False),
        ({"max_slowdown": 0.8}, "time per token, median", 0.8, True),
        ({"max_slowdown": 0.7}, "time per token, median", 0.8, False),
        ({"bottleneck": "memory"}, "memory won: weights and cache", 4 / 11, True),
        ({"bottleneck": "latency"}, "latency won: time per token, median", 0.8, True),
        ({"bottleneck": "throughput"}, "throughput won: machine time per token", 1.0, False),
        ({"bottleneck": "cost"}, "cost won: memory held times machine time per token", 4 / 11, True),
    ],
)
def test_promises_of_the_envelope(envelope: dict[str, Any], name: str, measured: float, met: bool) -> None:
    decision = decided(case(CALM, envelope=Envelope.model_validate(envelope)))
    check = next(check for check in decision.envelope if check.name == name)
    assert (check.measured, check.met) == (pytest.approx(measured), met)
    assert decision.envelope_met is met
    assert decision.verdict == "pass"
    assert decision.next_play == ("lock" if met else "next candidate")
    assert met or any(word in decision.reasons[-1] for word in ("the plan allows", "did not come"))


def test_a_missed_envelope_does_not_hide_lost_quality() -> None:
    made = case({"multi_step": (120, 5)}, envelope=Envelope(max_artifact_mib=1))
    assert decided(made).next_play == "quantization-aware training"


def test_calm_numbers_raise_no_alarm_and_others_do() -> None:
    assert decided(case(CALM)).alarms == ()
    loud = case(
        {"multi_step": (60, 60)},
        gate=gate_of(["multi_step"], 10, 20),
        evaluation_changes={
            "divergence": divergence(mean_kl_nats=0.5, top1_agreement=0.5, perplexity_candidate=8.0),
            "fingerprint": fingerprint("another cpu", threads=2),
        },
    )
    decision = decided(loud)
    assert [alarm.name for alarm in decision.alarms] == [
        "mean divergence",
        "top-1 agreement",
        "perplexity ratio",
        "flips",
        "different machine",
    ]
    assert "hardware, threads" in decision.alarms[-1].text
    assert decision.verdict == "pass"  # alarms never decide
