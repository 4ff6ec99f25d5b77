"""A quantization as the product records it, for the audit's oracle: `Case` says what a team did, `told_of` makes every record of it.

The records are linked by the product's own keys, calibration sets are checked and candidates judged by its own rules, on the pilot's
data. What only an older version or another tool could have written is changed afterwards, in the records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from benchmarks.audit_seeds_parts.built import (
    EPYC,
    Try,
    artifact_of,
    envelope_of,
    fingerprint_of,
    recipe_of,
    stored_as,
    training_of,
)
from benchmarks.audit_seeds_parts.measured import HARDEST_EVERY, asked_items, baseline_of, evaluation_of
from benchmarks.audit_seeds_parts.sets import Asked, file_entry, jsonl, own_tasks, rows_of
from quantplay.calibration import waivers_of
from quantplay.calibration.check import Against, check_calibration
from quantplay.digest import digest_of
from quantplay.evalset import EvalItem, TextSample
from quantplay.gate import decide
from quantplay.plan import Plan
from quantplay.plays import keys
from quantplay.plays.target import target_waivers
from quantplay.records import (
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    Digest,
    EnvelopeChoice,
    Evaluation,
    InputKind,
    Inputs,
    Manifest,
    Recipe,
    Training,
)

NAMES = UUID("5f2f0c53-8d0e-4b8e-9b57-5f6a3b1d9c10")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a team did. The case as it stands makes none of the seven mistakes."""

    name: str = "desk"
    plan: Mapping[str, Any] = field(default_factory=dict)  # dotted path -> value, over the clean plan
    asked: Asked = field(default_factory=own_tasks)
    calibration: str = "traffic"  # as sets.rows_of names it
    traffic: str | None = "sample"  # sample of traffic it is compared with
    chip: str = EPYC  # measured on
    tries: tuple[Try, ...] = (Try(),)
    wrong_moves: tuple[str, ...] = ()  # what play 2 said against quantizing
    shards: int = 1  # files of the full-precision weights


@dataclass(frozen=True, kw_only=True)
class Look:
    """A candidate with what was measured and decided."""

    recipe: Recipe
    artifact: Artifact
    evaluation: Evaluation
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class Told:
    """Every record of a case, linked."""

    plan: Plan
    inputs: Inputs
    check: CalibrationCheck | None
    baseline: Baseline
    envelope: EnvelopeChoice
    looks: tuple[Look, ...]
    training: Training | None
    files: Mapping[Digest, bytes]  # what the artifact store holds
    others: tuple[Manifest, ...] = ()  # inputs of other runs

    @property
    def baseline_key(self) -> Digest:
        return keys.baseline_key(
            self.plan, self.inputs, keys.harness_of(self.plan, self.inputs), self.baseline.fingerprint
        )

    @property
    def last(self) -> Look:
        return self.looks[-1]

    def run(self) -> UUID:
        return uuid5(NAMES, self.plan.name)


def recorded_as(seed: str) -> str:
    """Name of plan, model and endpoint: a seed's own name would tell what is wrong with it."""
    return f"desk-{digest_of(seed)[:8]}"


def run_of(seed: str) -> UUID:
    """Known beforehand, so that a seed can name another one's run."""
    return uuid5(NAMES, recorded_as(seed))


def told_of(case: Case) -> Told:
    plan, files = plan_of(case), {}
    inputs = inputs_of(case, plan, files)
    check = checked(case, plan, inputs)
    fingerprint = fingerprint_of(case.chip, plan.envelope.runtime)
    full = stored_as(f"full precision of {case.name}", files)
    baseline = baseline_of(plan, inputs, fingerprint, case.asked, full, case.tries[0].answers.wrong)
    told = Told(
        plan=plan, inputs=inputs, check=check, baseline=baseline, envelope=envelope_of(plan, fingerprint, case.wrong_moves), looks=(),
        training=None, files=files,
    )  # fmt: skip
    looks: list[Look] = []
    training = None
    for number, tried in enumerate(case.tries, 1):
        recipe = recipe_of(plan, tried, inputs)
        if tried.trained:
            training = training_of(plan, inputs, looks[-1].artifact, files)
            recipe = recipe.model_copy(update={"trained": training.weights})
        artifact = artifact_of(case.name, tried, recipe, files)
        looks.append(look_at(told, recipe, artifact, tried, number))
    return Told(**{**vars(told), "looks": tuple(looks), "training": training})


def look_at(told: Told, recipe: Recipe, artifact: Artifact, tried: Try, number: int) -> Look:
    plan, baseline = told.plan, told.baseline
    evaluation = evaluation_of(baseline, told.baseline_key, artifact, tried.answers)
    waivers = (*(waivers_of(told.check) if told.check else ()), *target_waivers(plan, baseline.fingerprint.hardware))
    decision = decide(
        plan.gate, baseline, evaluation, envelope=plan.envelope, artifact=artifact, attempt=number, waivers=waivers
    )
    return Look(recipe=recipe, artifact=artifact, evaluation=evaluation, decision=decision)


# --- plan and inputs ----------------------------------------------------------------------------------------------------


def plan_of(case: Case) -> Plan:
    tolerance = {"max_drop": 4.0, "broken_drop": 8.0}
    types = list(dict.fromkeys(one.type for one in case.tries if not one.trained))
    body: dict[str, Any] = {
        "schema": 1, "name": case.name, "use_case": "A support desk answers questions about orders and files tickets.",
        "trade_off": "A quarter of the memory for at most four points a skill.", "profile": "production",
        "seed": int(digest_of(case.name)[:6], 16), "model": {"source": f"models/{case.name}"},
        "calibration": {"file": "calibration/traffic.jsonl", "samples": 256, "tokens": 256},
        "evaluation": {
            "gate": "evaluation/gate.jsonl", "dev": "evaluation/dev.jsonl", "heldout": "heldout/text.jsonl",
            "slices": {name: {"title": name.replace("_", " ").capitalize()} for name in case.asked.items},
        },
        "envelope": {
            "runtime": "llama.cpp", "device": "cpu", "target_chip": case.chip, "bottleneck": "memory", "types": types,
            "context_tokens": 256, "batch": 4,
        },
        "gate": {
            "attempts": max(1, len(case.tries)), "slices": {name: dict(tolerance) for name in case.asked.items},
            "hardest": {"share": 1 / HARDEST_EVERY, "max_drop": 9.0, "broken_drop": 18.0, "max_loss_rise": 0.1, "broken_loss_rise": 0.3},
        },
        "owners": {"ml_engineer": "ada", "product_owner": "grace", "engineering_manager": "joan", "on_call": "olga"},
    }  # fmt: skip
    if case.traffic is not None:
        body["calibration"]["traffic"] = "traffic/sample.jsonl"
    for path, value in case.plan.items():
        part = body
        *parents, last = path.split(".")
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = value
    return Plan.model_validate(body)


def inputs_of(case: Case, plan: Plan, files: dict[Digest, bytes]) -> Inputs:
    def pinned(kind: InputKind, source: str, **contents: bytes) -> Manifest:
        entries = tuple(file_entry(name, content, files) for name, content in sorted(contents.items()))
        return Manifest.of(kind, source, entries, plan.model.commit if kind == "model" else None)

    weights = {
        f"model-{n:05}-of-{case.shards:05}.safetensors" if case.shards > 1 else "model.safetensors":
        f"weights of {case.name}, part {n}".encode() for n in range(1, case.shards + 1)
    }  # fmt: skip
    tasks = {
        f"tasks/{task.removesuffix('.yaml')}/0-{task}": f"task: {task}\n".encode() for task in plan.evaluation.tasks
    }
    items = asked_items(case.asked)
    inputs = {
        "model": pinned("model", plan.model.source, **{"config.json": b'{"model_type": "llama"}'}, **weights),
        "calibration": pinned("calibration", plan.calibration.file, **{"calibration.jsonl": jsonl(rows_of(case.calibration))}),
        "evaluation": pinned(
            "evaluation", plan.evaluation.gate, **{"gate.jsonl": jsonl(items), "dev.jsonl": jsonl(rows_of("dev"))}, **tasks
        ),
        "heldout": pinned("heldout", plan.evaluation.heldout, **{"heldout.jsonl": jsonl(rows_of("heldout"))}),
    }  # fmt: skip
    if case.traffic is not None and plan.calibration.traffic is not None:
        inputs["traffic"] = pinned(
            "traffic", plan.calibration.traffic, **{"traffic.jsonl": jsonl(rows_of(case.traffic))}
        )
    if plan.training is not None:
        inputs["training"] = pinned("training", plan.training.file, **{"training.jsonl": jsonl(rows_of("training"))})
    return Inputs(**inputs)


KNOWN: dict[tuple[Any, ...], CalibrationCheck] = {}
"""Checks that were made: many cases have the same sets."""


def checked(case: Case, plan: Plan, inputs: Inputs) -> CalibrationCheck:
    asked = (case.calibration, case.traffic, plan.calibration.samples, plan.calibration.tokens)
    if asked not in KNOWN:
        own = asked_items(own_tasks())
        KNOWN[asked] = check_calibration(
            [TextSample(**row) for row in rows_of(case.calibration)][: plan.calibration.samples],
            Against(
                evaluation={"gate": [EvalItem(**row) for row in own]},
                traffic=[TextSample(**row) for row in rows_of(case.traffic)] if case.traffic else None,
            ),
            calibration=inputs.calibration.content, tokens=plan.calibration.tokens,
        )  # fmt: skip
    reasons = {deviation.rule: deviation.reason for deviation in plan.deviations}
    found = KNOWN[asked]
    waived = tuple(one.model_copy(update={"waiver": reasons.get(one.rule)}) for one in found.findings)
    return found.model_copy(update={"findings": waived})
