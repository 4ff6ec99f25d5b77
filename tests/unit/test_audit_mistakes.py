"""Each of the seven mistakes in the ways it shows, and nothing where it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from audit_records import FIGURES, MODEL, REFERENCE, Made, finding, made, measured_again, policy
from factories import digest

from quantplay.audit import answered
from quantplay.audit.facts import EACH_NAMED, Facts, Release
from quantplay.plan import BusinessCase, Deviation, Training
from quantplay.records import CalibrationCheck, Manifest, Revalidation, RollbackRules, Waiver
from quantplay.records.rollback_rules import SIGNALS

CLEAN = made()
CASE = BusinessCase(
    requests_per_day=1000, tokens_per_request=100, serving_cost_per_million_tokens=1, training_cost=10, months=12
)


def named(facts: Facts) -> dict[str, bool]:
    """Mistake -> whether it is waived."""
    return {one.name: one.waived for one in answered(facts).mistakes}


def released(run: Made = CLEAN, **changes: object) -> Facts:
    rules = policy(**changes)
    return run.facts(kind="endpoint", releases=(Release(endpoint="chat", revision=1, policy=rules, traffic=None),))


def checked(*findings: tuple[str, str | None], **figures: float) -> Made:
    content = CLEAN.inputs.calibration.content
    found = tuple(finding(rule, waiver) for rule, waiver in findings)
    check = CalibrationCheck(calibration=content, samples=256, findings=found, figures=FIGURES | figures)
    return CLEAN.but(calibration=check)


def sourced(kind: str, source: str) -> Made:
    old: Manifest = getattr(CLEAN.inputs, kind)
    return CLEAN.but(inputs=CLEAN.inputs.model_copy(update={kind: old.model_copy(update={"source": source})}))


def below_four(kind: str = "Q3_K_M", **recipe: object) -> Made:
    return CLEAN.record("recipe", type=kind, **recipe).record("artifact", type=kind)


def performance(**changes: object) -> Made:
    speed = CLEAN.records["evaluation"].performance
    return CLEAN.record("evaluation", performance=speed.model_copy(update=changes))


def hardware(**changes: object) -> Made:
    stack = CLEAN.records["evaluation"].fingerprint
    moved = stack.model_copy(update={"hardware": stack.hardware.model_copy(update=changes)})
    return CLEAN.record("evaluation", fingerprint=moved)


def loose_gate(drop: float) -> Made:
    limits = {
        name: one.model_copy(update={"max_drop": drop, "broken_drop": drop})
        for name, one in CLEAN.plan.gate.slices.items()
    }
    return CLEAN.planned("gate", slices=limits)


def answering(*arms: str, **change: object) -> Made:
    """With every item of these arms changed."""
    run = CLEAN
    for arm in arms:
        record = "evaluation" if arm == "candidate" else "baseline"
        old = getattr(run.records[record], arm)
        items = tuple(item.model_copy(update=change) for item in old.items)
        run = run.record(record, **{arm: old.model_copy(update={"items": items})})
    return run


def nearly_all_one_answer() -> Made:
    """All but one item in eight of the hardest has the same answer: too few to show in a slice, not among the hardest."""
    run, baseline = answering("candidate", response="routine", score=1.0), CLEAN.records["baseline"]
    rare = set(baseline.hardest[::8])
    items = tuple(
        item.model_copy(update={"response": "urgent" if item.id in rare else "routine", "score": 1.0})
        for item in baseline.source.items
    )
    return run.record("baseline", source=baseline.source.model_copy(update={"items": items}))


def sliced(*names: str) -> Made:
    limit = next(iter(CLEAN.plan.gate.slices.values()))
    return CLEAN.planned("gate", slices=dict.fromkeys(names, limit))


def with_a_plan_for_training(run: Made) -> Made:
    return run.but(plan=run.plan.model_copy(update={"business_case": CASE, "training": Training(file="t.jsonl")}))


def moved(chip: str, *again: Revalidation, target: str | None = None) -> Facts:
    run = CLEAN if target is None else CLEAN.planned("envelope", target_chip=target)
    return run.facts(standing=measured_again(run, cpu=chip, measured=False), revalidations=again)


def served_elsewhere(runtime: str, device: str, kind: str, form: str, name: str) -> Made:
    run = CLEAN.planned("envelope", runtime=runtime, device=device, target_chip=None, bottleneck="latency")
    run = run.record("recipe", type=kind, format=form, method="llm-compressor-gptq", group_size=128)
    run = run.record("artifact", type=kind, format=form, file_name=name, tensors={})
    chosen = run.records["envelope"].chosen.model_copy(update={"format": form, "type": kind})
    run = run.record("envelope", runtime=runtime, chosen=chosen, candidates=(chosen,))
    arm = run.records["evaluation"].candidate.model_copy(update={"runtime": runtime})
    return run.record("evaluation", candidate=arm)


def in_vllm() -> Made:
    return served_elsewhere("vllm", "gpu", "W4A16", "compressed-tensors", "m")


NO_TASKS = {
    "nothing answered": lambda: CLEAN.record(
        "evaluation", candidate=CLEAN.records["evaluation"].candidate.model_copy(update={"items": ()})
    ).facts(),
    "no evaluation": lambda: CLEAN.but(evaluation=None).facts(),
    "no decision": lambda: CLEAN.but(decision=None).facts(),
    "another file": lambda: CLEAN.record("artifact", sha256=digest("other")).facts(),
    "dev split": lambda: CLEAN.record(
        "evaluation", candidate=CLEAN.records["evaluation"].candidate.model_copy(update={"split": "dev"})
    ).facts(),
    "another harness": lambda: CLEAN.record("evaluation", harness=digest("h2")).facts(),
    "public benchmark": lambda: CLEAN.planned("evaluation", gate="tasks/gsm8k.jsonl").facts(),
    "any loss allowed": lambda: loose_gate(60).facts(),
    "alarms alone": lambda: CLEAN.record("decision", slices=()).facts(),
    "ten items": lambda: CLEAN.record(
        "decision", slices=tuple(row.model_copy(update={"items": 10}) for row in CLEAN.records["decision"].slices)
    ).facts(),
    "the baseline of another set": lambda: CLEAN.record("baseline", evaluation=digest("other")).facts(),
    "nothing answered by either": lambda: answering("source", "candidate", response=" ").facts(),
    "one answer to everything": lambda: answering("source", "candidate", response="yes", score=1.0).facts(),
    "bits a byte and likelihoods": lambda: sliced("bits_per_byte", "log-likelihood").facts(),
    "another file served": lambda: released(
        quantized=policy().quantized.model_copy(update={"artifact": digest("other")})
    ),
}  # fmt: skip
GENERIC = {
    "wikitext": lambda: sourced("calibration", "sets/wikitext-2-raw/train.jsonl").facts(),
    "c4 in the plan": lambda: CLEAN.planned("calibration", file="c4.jsonl").facts(),
    "unlike the traffic": lambda: checked(("calibration.domain", None)).facts(),
    "overlap by its figure": lambda: checked(overlap_gate=12.0).facts(),
    "the evaluation's own file": lambda: CLEAN.but(
        inputs=CLEAN.inputs.model_copy(update={"calibration": CLEAN.inputs.calibration.model_copy(update={"files": CLEAN.inputs.evaluation.files})})
    ).facts(),
    "another set was read": lambda: CLEAN.record("recipe", calibration=digest("other")).facts(),
    "none where it takes one": lambda: CLEAN.record("recipe", type="IQ4_XS", calibration_samples=0).facts(),
}  # fmt: skip
AGGRESSIVE = {
    "3 bits": lambda: below_four().facts(),
    "2 bits of a folder": lambda: CLEAN.record("recipe", type="W2A16", bits_per_weight=2.1).record("artifact", type="W2A16").facts(),
    "trained, and nobody signed": lambda: below_four(trained=digest("w")).facts(),
    "4 bits by name alone": lambda: CLEAN.record("artifact", tensors={"blk.0.attn_q.weight": "Q2_K", "blk.0.ffn_up.weight": "Q3_K"}).facts(),
    "all of it overridden": lambda: CLEAN.record("recipe", tensor_types={".*": "Q2_K"}).facts(),
    "activations too": lambda: CLEAN.record("recipe", bits_activations=8).facts(),
    "one scale a row": lambda: CLEAN.record("recipe", group_size=0).facts(),
    "embedding in 2 bits": lambda: CLEAN.record("artifact", tensors={"token_embd.weight": "Q2_K"}).facts(),
    "output matrix overridden": lambda: CLEAN.record("recipe", tensor_types={"^output\\.weight$": "Q3_K"}).facts(),
    "3 bits within any loss": lambda: with_a_plan_for_training(below_four()).but(
        plan=with_a_plan_for_training(loose_gate(25)).plan
    ).facts(),
    "first try": lambda: CLEAN.facts(locked=False, tried=(below_four().record("artifact", sha256=digest("t")).records["artifact"],)),
}  # fmt: skip
KERNELS = {
    "GPTQ on a CPU": lambda: served_elsewhere("transformers", "cpu", "W4A16", "compressed-tensors", "m.tar").facts(),
    "FP8 on Ampere": lambda: served_elsewhere("vllm", "gpu", "FP8_DYNAMIC", "compressed-tensors", "m.tar").planned(
        "envelope", target_chip="NVIDIA A100 80GB").facts(),
    "play 2 said so": lambda: CLEAN.record("envelope", wrong_moves=("No native support: no candidate has a kernel of its own.",)).facts(),
    "unpacked in memory": lambda: CLEAN.record("envelope", chosen=CLEAN.records["envelope"].chosen.model_copy(
        update={"held_bytes": 9 * CLEAN.records["envelope"].chosen.weights_bytes})).facts(),
    "twice as slow": lambda: CLEAN.record("evaluation", performance=CLEAN.records["evaluation"].performance.model_copy(
        update={"time_per_token_ms": CLEAN.records["evaluation"].performance.time_per_token_ms.model_copy(update={"p50": 9.0})})).facts(),
}  # fmt: skip
ELSEWHERE = {
    "another chip serves": lambda: CLEAN.planned("envelope", target_chip="NVIDIA H100").facts(),
    "another CPU measured": lambda: hardware(cpu="AMD EPYC 9654").facts(),
    "another runtime": lambda: CLEAN.record(
        "evaluation", candidate=CLEAN.records["evaluation"].candidate.model_copy(update={"runtime": "transformers"})
    ).facts(),
    "another build": lambda: CLEAN.record("evaluation", fingerprint=CLEAN.records["evaluation"].fingerprint.model_copy(
        update={"software": CLEAN.records["evaluation"].fingerprint.software.model_copy(update={"runtime": "llama.cpp b9"})})).facts(),
    "once": lambda: performance(repeats=1).facts(),
    "one at a time": lambda: performance(batch=1).facts(),
    "more threads": lambda: performance(threads=64).facts(),
    "a chip of any make": lambda: made(profile="production").planned("envelope", target_chip="*e*").facts(),
    "moved, and nothing measured": lambda: moved("AMD EPYC 9755", measured_again(CLEAN, cpu="AMD EPYC 9654")),
    "measured again on a third chip": lambda: CLEAN.planned("envelope", target_chip="NVIDIA H100*").facts(
        revalidations=(measured_again(CLEAN, cpu="AMD EPYC 9755"),)),
    "no chip in production": lambda: made(profile="production").planned("envelope", target_chip=None).facts(),
}  # fmt: skip
FORMATS = {
    "GGUF for vLLM": lambda: CLEAN.planned("envelope", runtime="vllm", device="gpu").record("envelope", runtime="vllm").record(
        "evaluation", candidate=CLEAN.records["evaluation"].candidate.model_copy(update={"runtime": "vllm"})
    ).but(evaluation=None).facts(locked=False, package=None),
    "8 bits packed for a GPU": lambda: served_elsewhere("transformers", "cpu", "W8A16", "compressed-tensors", "m.tar").facts(),
    "a build of llama.cpp for a folder": lambda: in_vllm().facts(
        kind="endpoint", releases=(Release(endpoint="chat", revision=1, traffic=None, policy=policy(
            quantized=policy().quantized.model_copy(update={"build": "b6800-1a2b3c4"}))),)),
    "unknown format": lambda: CLEAN.record("artifact", format="exl2").facts(),
    "another type's format": lambda: CLEAN.record("artifact", type="W4A16").facts(),
    "quantized before": lambda: sourced("model", "org/Model-7B-GPTQ").facts(),
    "made of other weights": lambda: CLEAN.record("recipe", model=digest("other")).facts(),
    "method of another format": lambda: CLEAN.record("recipe", method="gptq-then-gguf").facts(),
    "play 2 chose another": lambda: CLEAN.record(
        "envelope", chosen=CLEAN.records["envelope"].chosen.model_copy(update={"format": "gptq"})
    ).facts(),
}  # fmt: skip
DEAD = RollbackRules(tolerated_ratio=dict.fromkeys(SIGNALS, 10.0), ceilings={})
ROLLBACK = {
    "not archived": lambda: CLEAN.facts(pins={}),
    "of the weights one file is gone": lambda: CLEAN.facts(archived={MODEL: False, REFERENCE: True}),
    "the converted file alone is kept": lambda: CLEAN.facts(pins={REFERENCE: ("reference",)}),
    "one arm": lambda: released(full_precision=policy().quantized),
    "another file to go back to": lambda: released(
        full_precision=policy().full_precision.model_copy(update={"artifact": digest("other")})
    ),
    "nothing is ever too much": lambda: released(rules=RollbackRules(negligible=0.9)),
    "no signal fires": lambda: released(rules=DEAD),
    "all at once, none held back": lambda: released(rules=RollbackRules(holdback=0), steps=(1.0,)),
    "rules of the plan": lambda: CLEAN.but(
        plan=CLEAN.plan.model_copy(update={"rollback_rules": RollbackRules(negligible=0.9)})
    ).facts(),
}  # fmt: skip
SEEDED = {
    "no_task_evaluation": NO_TASKS, "generic_calibration": GENERIC, "too_aggressive_too_soon": AGGRESSIVE, "no_kernel_support": KERNELS,
    "not_measured_on_target": ELSEWHERE, "format_mismatch": FORMATS, "no_rollback_plan": ROLLBACK,
}  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "way"), [(mistake, way) for mistake, ways in SEEDED.items() for way in ways], ids=lambda text: text
)
def test_each_way_is_named_with_why_evidence_and_fix(mistake: str, way: str) -> None:
    found = answered(SEEDED[mistake][way]())
    one = next((one for one in found.mistakes if one.name == mistake), None)
    assert one is not None, [(other.name, other.why) for other in found.mistakes]
    assert (one.why.endswith("."), bool(one.evidence), bool(one.fix), one.waived) == (True, True, True, False)
    line = next(line for line in found.answers if line.mistake == mistake)
    assert (line.answer, line.owner) == ("no", one.owner)


def mixed() -> Made:
    run = CLEAN.record(
        "recipe", type="Q3_K_M", higher_precision=(EACH_NAMED,), tensor_types={"^output\\.weight$": "Q3_K"}
    )
    return run.record("artifact", type="Q3_K_M", tensors={"output.weight": "Q3_K"}, bits_per_weight=4.4)


def trained() -> Facts:
    from audit_signs import approval

    run = below_four(trained=digest("w"))
    plan = run.plan.model_copy(update={"business_case": CASE, "training": Training(file="t.jsonl")})
    return run.but(plan=plan).facts(signoffs=(approval("training", "engineering_manager"),))


GOOD: dict[str, Callable[[], Facts]] = {
    "internal": CLEAN.facts,
    "production": lambda: made(profile="production").facts(),
    "no chip named, internal": lambda: CLEAN.planned("envelope", target_chip=None).facts(),
    "mixed precision": lambda: mixed().facts(),
    "mixed after a first try below 4 bits": lambda: mixed().facts(tried=(below_four().record("artifact", sha256=digest("t")).records["artifact"],)),
    "trained below 4 bits, signed": trained,
    "below 4 bits with a plan for training": lambda: with_a_plan_for_training(below_four()).facts(),
    "a waiver of another rule": lambda: checked(("calibration.count", "ninety tickets so far")).facts(),
    "a deviation that was not needed": lambda: CLEAN.but(
        plan=CLEAN.plan.model_copy(update={"deviations": (Deviation(rule="envelope.target_chip", reason="was not needed"),)})
    ).facts(),
    "released": lambda: released(),
    "one answer in most places, and another where it is hard": lambda: nearly_all_one_answer().facts(),
    "measured on the declared chip later": lambda: CLEAN.planned("envelope", target_chip="AMD EPYC 9654*").facts(
        revalidations=(measured_again(CLEAN, cpu="AMD EPYC 9654 96-Core Processor"),)),
    "moved back to where it was measured later": lambda: moved("AMD EPYC 9755", measured_again(CLEAN, cpu="AMD EPYC 9755")),
    "released for a build of its own": lambda: released(
        quantized=policy().quantized.model_copy(update={"build": "b6800-1a2b3c4"})),
    "cut over with a past to compare with": lambda: released(rules=RollbackRules(holdback=0)),
    "storage alone is to be won": lambda: served_elsewhere("transformers", "cpu", "W8A8", "compressed-tensors", "m.tar").planned(
        "envelope", bottleneck="storage").record("recipe", bits_activations=8, group_size=0).facts(),
    "stopped short": lambda: CLEAN.record("decision", verdict="close").facts(locked=False, package=None),
}  # fmt: skip


@pytest.mark.parametrize("run", GOOD)
def test_nothing_is_named_where_nothing_is_wrong(run: str) -> None:
    assert {one.name: one.why for one in answered(GOOD[run]()).mistakes} == {}


def test_a_waiver_is_named_with_its_reason_only_where_the_defect_is_there() -> None:
    away = CLEAN.planned("envelope", target_chip="NVIDIA H100")
    accepted = away.record(
        "decision", waivers=(Waiver(rule="envelope.target_chip", reason="the rack is late", what="w"),)
    )
    (one,) = answered(accepted.facts()).mistakes
    assert (one.name, one.waived, one.reason) == ("not_measured_on_target", True, "the rack is late")
    assert next(line for line in answered(accepted.facts()).answers if line.mistake == one.name).answer == "waived"
    assert named(checked(("calibration.domain", "no other texts")).facts()) == {"generic_calibration": True}


def test_play_2s_answer_that_nothing_runs_natively_may_be_waived_as_a_whole() -> None:
    said = "No native support: no candidate has a kernel of its own on this chip, so no time is won."
    deviation = Deviation(rule="envelope.wrong_move", reason="the cards are replaced in March")
    run = served_elsewhere("transformers", "gpu", "GPTQ_INT4", "gptq", "m").planned("envelope", target_chip="Tesla T4")
    accepted = run.but(plan=run.plan.model_copy(update={"deviations": (deviation,)}))
    assert named(accepted.facts())["no_kernel_support"] is False  # play 2 never said it, so nobody accepted it
    assert named(accepted.record("envelope", wrong_moves=(said,)).facts())["no_kernel_support"] is True


def test_an_artifact_store_that_does_not_answer_leaves_it_open() -> None:
    found = answered(CLEAN.facts(archived=None))
    assert not found.mistakes
    assert next(line.answer for line in found.answers if line.mistake == "no_rollback_plan") == "unknown"


def test_one_accepted_sign_does_not_excuse_another() -> None:
    run = CLEAN.planned("envelope", target_chip="NVIDIA H100").record(
        "decision", waivers=(Waiver(rule="envelope.target_chip", reason="the rack is late", what="w"),)
    )
    arm = run.records["evaluation"].candidate.model_copy(update={"runtime": "transformers"})
    found = answered(run.record("evaluation", candidate=arm).facts()).mistakes
    assert [(one.name, one.waived) for one in found] == [("not_measured_on_target", False)]
