"""Seeds of the mistakes that are made before anything runs: no task evaluation, generic calibration data, too aggressive too soon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.audit_seeds_parts.built import Try
from benchmarks.audit_seeds_parts.cases import Case, Told
from benchmarks.audit_seeds_parts.measured import Answers
from benchmarks.audit_seeds_parts.sets import file_entry, jsonl, made_up, own_tasks, rows_of
from benchmarks.audit_seeds_parts.written import Ending, Release, Seed
from quantplay.digest import digest_of
from quantplay.records import ArmRun, Artifact, Decision, Evaluation, Manifest, Recipe

FREE, WIDE = {"max_drop": 95.0, "broken_drop": 100.0}, {"max_drop": 60.0, "broken_drop": 90.0}
BUSINESS_CASE = {
    "requests_per_day": 2e6, "tokens_per_request": 900, "serving_cost_per_million_tokens": 0.4, "serving_saving_percent": 50,
    "training_cost": 3000, "months": 12,
}  # fmt: skip
TRAINING = {"file": "training/train.jsonl", "steps": 25, "learning_rate": 0.0001}


def waived(*rules: str, reason: str) -> dict[str, Any]:
    return {"deviations": [{"rule": rule, "reason": reason} for rule in rules]}


def relooked(
    told: Told, *, recipe: Callable[[Recipe], Recipe] = lambda one: one, artifact: Callable[[Artifact], Artifact] = lambda one: one,
    evaluation: Callable[[Evaluation], Evaluation] = lambda one: one, decision: Callable[[Decision], Decision] = lambda one: one,
) -> Told:  # fmt: skip
    """The last look changed, its records still naming each other."""
    look = told.last
    new_recipe, new_evaluation = recipe(look.recipe), evaluation(look.evaluation)
    new_artifact = artifact(look.artifact).model_copy(update={"recipe": new_recipe.digest()})
    new_decision = decision(look.decision).model_copy(update={"evaluation": new_evaluation.digest()})
    changed = replace(look, recipe=new_recipe, artifact=new_artifact, evaluation=new_evaluation, decision=new_decision)
    return replace(told, looks=(*told.looks[:-1], changed))


def likelihoods_only(told: Told) -> Told:
    """Every item is a text whose likelihood was measured: nothing was asked, nothing answered."""

    def measured(arm: ArmRun) -> ArmRun:
        items = (item.model_copy(update={"graded": True, "response": "", "score": 0.25}) for item in arm.items)
        return arm.model_copy(update={"items": tuple(items)})

    baseline = told.baseline.model_copy(
        update={"source": measured(told.baseline.source), "reference": measured(told.baseline.reference)}
    )
    changed = relooked(told, evaluation=lambda one: one.model_copy(update={"candidate": measured(one.candidate)}))
    return replace(changed, baseline=baseline)


def another_file_evaluated(told: Told) -> Told:
    other = digest_of("the file of an earlier attempt")
    return relooked(
        told,
        evaluation=lambda one: one.model_copy(
            update={"artifact": other, "candidate": one.candidate.model_copy(update={"model": other})}
        ),
    )


NO_TASK_EVALUATION = (
    Seed(
        name="perplexity-alone",
        says="The only tasks are perplexity and divergence of texts: no item asks anything, no answer is scored.",
        expected={"no_task_evaluation": False},
        case=Case(
            asked=made_up(("perplexity", "bits_per_byte"), "A text of the held-out set, number {n}, for {slice}.", "-", count=300),
            plan={"evaluation.tasks": ["perplexity.yaml", "bits_per_byte.yaml"]}, tries=(Try(answers=Answers(0, 0, 0)),),
        ),
        told=likelihoods_only,
    ),
    Seed(
        name="one-easy-slice",
        says="One slice of one trivial pattern that both models answer without a mistake: it could not have shown a loss.",
        expected={"no_task_evaluation": False},
        case=Case(asked=made_up(("greeting",), "customer {n} says hi\nanswer:", "hello", count=600), tries=(Try(answers=Answers(0, 0, 0)),)),
    ),
    Seed(
        name="public-benchmark",
        says="The evaluation set is MMLU, HellaSwag and ARC: none of it is a task of the team.",
        kind="package",
        expected={"no_task_evaluation": False},
        case=Case(
            asked=made_up(("mmlu", "hellaswag", "arc_challenge"), "Question {n} of {slice}: A, B, C or D?\nAnswer:", "A", "choice"),
            plan={
                "evaluation.gate": "benchmarks/mmlu-hellaswag-arc/test.jsonl", "evaluation.dev": "benchmarks/mmlu-hellaswag-arc/dev.jsonl",
                "evaluation.tasks": ["mmlu.yaml", "hellaswag.yaml", "arc_challenge.yaml"],
            },
        ),
    ),
    Seed(
        name="never-evaluated",
        says="Quantized elsewhere and registered by hand under profile internal: artifact and package are there, play 4 never ran.",
        kind="package",
        expected={"no_task_evaluation": False},
        also=frozenset({"not_measured_on_target"}),  # no speed was measured either
        case=Case(plan={"profile": "internal"}),
        ending=Ending(plays=("calibration", "envelope", "ptq"), made_of=False),
    ),
    Seed(
        name="gate-refuses-nothing",
        says="Every slice may lose 95 points, so a candidate that lost 72 of 120 sums passed: a gate that can't say no tests nothing.",
        expected={"no_task_evaluation": False},
        case=Case(
            plan={
                "gate.slices": dict.fromkeys(own_tasks().items, FREE),
                "gate.hardest": {**FREE, "max_loss_rise": 50, "broken_loss_rise": 100},
            },
            tries=(Try(answers=Answers(lost=72)),),
        ),
    ),
    Seed(
        name="another-file-evaluated",
        says="What was evaluated is the file of an earlier attempt, not the one in the package (an earlier version did not compare them).",
        kind="package",
        expected={"no_task_evaluation": False},
        also=frozenset({"not_measured_on_target"}),  # nor was the speed of the packaged file measured
        told=another_file_evaluated,
    ),
    Seed(
        name="served-without-a-package",
        says="The endpoint's policy names no package and serves a file that nothing on record evaluated.",
        kind="endpoint",
        expected={"no_task_evaluation": False},
        also=frozenset({"not_measured_on_target", "no_rollback_plan"}),  # no measurement and no archive on record either
        ending=Ending(
            release=Release(
                policy=lambda policy: policy.model_copy(
                    update={
                        "package": None, "quantized": policy.quantized.model_copy(update={"artifact": digest_of("found on a share")}),
                    }
                )
            )
        ),
    ),
)  # fmt: skip


def calibrated_on_another_set(told: Told) -> Told:
    files = dict(told.files)
    entry = file_entry("calibration.jsonl", jsonl(rows_of("general")), files)
    other = Manifest.of("calibration", "datasets/c4/en-00000.jsonl", (entry,))
    changed = relooked(told, recipe=lambda one: one.model_copy(update={"calibration": other.content}))
    return replace(changed, files=files, others=(other,))


GENERIC_CALIBRATION = (
    Seed(
        name="recipes-waived",
        says="Cooking recipes calibrate a support desk's model; the check against traffic found it, and the plan waives it.",
        expected={"generic_calibration": True},
        case=Case(
            calibration="recipes",
            plan=waived(
                "calibration.domain", "calibration.topic_variety", reason="Tickets could not be collected in time; these texts were at hand."
            ),
        ),
    ),
    Seed(
        name="wikitext-never-compared",
        says="WikiText calibrates a support desk's model, and no sample of traffic is named to compare it with.",
        expected={"generic_calibration": False},
        case=Case(calibration="general", traffic=None, plan={"calibration.file": "data/wikitext-2-raw-v1/train.jsonl"}),
    ),
    Seed(
        name="public-chats-internal",
        says="Public chats (UltraChat) calibrate an internal model: low stakes excuse no generic calibration data.",
        kind="package",
        expected={"generic_calibration": False},
        case=Case(
            calibration="general", traffic=None, plan={"profile": "internal", "calibration.file": "hub/ultrachat_200k/sample.jsonl"}
        ),
    ),
    Seed(
        name="artifact-calibrated-elsewhere",
        says="The plan's set is in-domain, but the recipe of the artifact names C4 (an earlier version reused another team's artifact).",
        expected={"generic_calibration": False},
        told=calibrated_on_another_set,
    ),
    Seed(
        name="compared-with-itself",
        says="The Pile calibrates it, and the `sample of traffic` it was compared with is that same file, so the check had to pass.",
        kind="package",
        expected={"generic_calibration": False},
        case=Case(
            calibration="general", traffic="general",
            plan={"calibration.file": "corpora/pile-val/val.jsonl", "calibration.traffic": "corpora/pile-val/val.jsonl"},
        ),
    ),
    Seed(
        name="finding-left-open",
        says="The check says that the samples are unlike the traffic, nobody waived it, and an earlier version went on all the same.",
        expected={"generic_calibration": False},
        case=Case(calibration="general", plan={"profile": "internal"}),
    ),
)  # fmt: skip

TOO_AGGRESSIVE = (
    Seed(
        name="two-bits-first",
        says="Q2_K is the first and only type, and the plan says nothing about training.",
        expected={"too_aggressive_too_soon": False},
        case=Case(tries=(Try(type="Q2_K"),)),
    ),
    Seed(
        name="three-bits-ahead-of-four",
        says="Four bits stand in the plan, after IQ3_XXS, which was tried first and locked; no training is planned.",
        expected={"too_aggressive_too_soon": False},
        case=Case(plan={"envelope.types": ["IQ3_XXS", "Q4_K_M"]}, tries=(Try(type="IQ3_XXS"),)),
    ),
    Seed(
        name="four-bits-by-name",
        says="The recipe is called Q4_K_M, but its overrides put nearly every matrix to Q2_K: the file holds 2.9 bits a weight.",
        kind="package",
        expected={"too_aggressive_too_soon": False},
        case=Case(tries=(Try(tensor_types={"attn_": "Q2_K", "ffn_": "Q2_K"}, bits=2.9),)),
    ),
    Seed(
        name="three-bits-without-budget",
        says="Training is planned, but the quality budget is none: a slice may lose 60 points.",
        expected={"too_aggressive_too_soon": False},
        also=frozenset({"no_task_evaluation"}),  # a gate this wide tests hardly anything
        case=Case(
            plan={
                "gate.slices": dict.fromkeys(own_tasks().items, WIDE),
                "gate.hardest": {**WIDE, "max_loss_rise": 1.0, "broken_loss_rise": 2.0},
                "business_case": BUSINESS_CASE, "training": TRAINING,
            },
            tries=(Try(type="Q3_K_M", answers=Answers(lost=42)),),
        ),
    ),
    Seed(
        name="one-bit-internal",
        says="A ternary type for a model that was never trained for it, under profile internal.",
        kind="package",
        expected={"too_aggressive_too_soon": False},
        case=Case(plan={"profile": "internal"}, tries=(Try(type="TQ1_0"),)),
    ),
    Seed(
        name="three-bits-live",
        says="The endpoint serves Q3_K_S, whose plan names no training.",
        kind="endpoint",
        expected={"too_aggressive_too_soon": False},
        case=Case(tries=(Try(type="Q3_K_S"),)),
        ending=Ending(release=Release(shares=(0.05, 0.25))),
    ),
    Seed(
        name="business-case-alone",
        says="Two bits, and a business case that says what training would cost, but no word on how to train: no plan for play 6.",
        expected={"too_aggressive_too_soon": False},
        case=Case(plan={"business_case": BUSINESS_CASE}, tries=(Try(type="IQ2_M"),)),
    ),
)  # fmt: skip

ASKED_TOO_LITTLE: tuple[Seed, ...] = (*NO_TASK_EVALUATION, *GENERIC_CALIBRATION, *TOO_AGGRESSIVE)
