"""What determines each play's result. Equal keys mean: it has been done, look it up; a play never runs twice for one key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantplay import calibration
from quantplay.digest import digest_of, digest_of_entries
from quantplay.formats import SERVERS
from quantplay.gate import rule
from quantplay.harness.identity import harness_digest
from quantplay.harness.server_command import flags
from quantplay.plan import Plan
from quantplay.records import (
    Artifact,
    Digest,
    Evaluation,
    Fingerprint,
    GateChange,
    Inputs,
    Recipe,
    StandardsCheck,
    TrainingSettings,
    Update,
    Waiver,
)


def harness_of(plan: Plan, inputs: Inputs) -> Digest:
    """Digest of the harness in use now, over these items and this decoding."""
    return harness_digest(inputs.evaluation.content, plan.decoding, served(plan))


def calibration_key(plan: Plan, inputs: Inputs) -> Digest:
    """Everything the samples are compared with, how much of them is read, and what the plan waives."""
    waived = [deviation.body() for deviation in plan.deviations if deviation.rule.startswith("calibration.")]
    return digest_of(
        {
            "play": "calibration",
            "rules": calibration.RULES,
            "calibration": inputs.calibration.content,
            "samples": plan.calibration.samples,
            "tokens": plan.calibration.tokens,
            "evaluation": inputs.evaluation.content,
            "heldout": inputs.heldout.content,
            "traffic": inputs.traffic.content if inputs.traffic else None,
            "tokenizer": inputs.model.content,
            "waived": waived,
        }
    )


def looked_at(inputs: Inputs) -> tuple[Digest, Digest]:
    """What a look at the gate split is a look at: the model's weights, and the items that decide. A changed README beside the
    weights or another dev split doesn't make it a first look.
    """
    weights = [(file.path, file.sha256) for file in inputs.model.files if file.path.endswith(".safetensors")]
    items = [(file.path, file.sha256) for file in inputs.evaluation.files if file.path != "dev.jsonl"]
    return digest_of_entries(weights), digest_of_entries(items)


def baseline_key(plan: Plan, inputs: Inputs, harness: Digest, fingerprint: Fingerprint) -> Digest:
    """Model, evaluation set, harness, hardware, stack and serving runtime; and what the plan lets vary in how it is measured."""
    return digest_of(
        {
            "play": "baseline",
            "model": inputs.model.content,
            "evaluation": inputs.evaluation.content,
            "heldout": inputs.heldout.content,
            "harness": harness,
            "fingerprint": fingerprint.digest(),
            "runtime": plan.envelope.runtime,
            "served": served(plan),
            "hardest_share": plan.gate.hardest.share,
            "seed": plan.seed,
        }
    )


def renewed_key(identity: Digest, generation: int) -> Digest:
    """Key of the baseline measured again because the one before had expired or was revoked; `identity` is the first one's."""
    return identity if generation == 0 else digest_of({"baseline": identity, "generation": generation})


def envelope_key(plan: Plan, inputs: Inputs, fingerprint: Fingerprint, update: Update | None = None) -> Digest:
    """update: the run whose choice is used again."""
    again = {"updates": update.run, "tried_first": update.type} if update is not None else {}
    return digest_of(
        {
            "play": "envelope",
            "model": inputs.model.content,
            "envelope": plan.envelope.body(),
            "fingerprint": fingerprint.digest(),
            **again,
        }
    )


def artifact_key(recipe: Recipe) -> Digest:
    return digest_of({"play": "ptq", "recipe": recipe.digest()})


def sensitivity_key(plan: Plan, inputs: Inputs, recipe: Recipe, types: Sequence[str]) -> Digest:
    """Model, calibration texts, types, how many texts, and the stack. `recipe`: of the artifact that came short."""
    return digest_of(
        {
            "play": "sensitivity",
            "model": inputs.model.content,
            "calibration": inputs.calibration.content,
            "samples": plan.calibration.samples,
            "sample_tokens": plan.calibration.tokens,
            "types": sorted(types),
            "sequences": plan.mixing.sequences,
            "tokens": plan.mixing.tokens,
            "threads": recipe.threads,
            "versions": recipe.versions,
            "converter": recipe.converter,
        }
    )


def scan_part_key(scan: Digest, part: int, parts: int, measured_with: Mapping[str, str]) -> Digest:
    """measured_with: the worker's processor and libraries; parts that other ones measured do not fit together."""
    return digest_of({"play": "scan", "scan": scan, "part": part, "parts": parts, "with": dict(measured_with)})


def mix_key(plan: Plan, inputs: Inputs, sensitivity: Digest, short: Artifact, budget_bytes: int) -> Digest:
    """Which mixes are made and measured, on which text. `short`: the artifact they have to beat."""
    dev = next(file.sha256 for file in inputs.evaluation.files if file.path == "dev.jsonl")
    return digest_of(
        {
            "play": "mix",
            "sensitivity": sensitivity,
            "artifact": short.sha256,
            "budget_bytes": budget_bytes,
            "dev": dev,
            "context_tokens": plan.envelope.context_tokens,
        }
    )


def training_key(inputs: Inputs, artifact: Artifact, recipe: Recipe, settings: TrainingSettings) -> Digest:
    """From which artifact, on which texts, how and on what, with which libraries; the dev split chooses the step.

    recipe: of that artifact. settings: with device and precision.
    """
    assert inputs.training is not None
    assert settings.device is not None
    assert settings.precision is not None
    dev = next(file.sha256 for file in inputs.evaluation.files if file.path == "dev.jsonl")
    return digest_of(
        {
            "play": "training",
            "model": inputs.model.content,
            "artifact": artifact.sha256,
            "data": inputs.training.content,
            "dev": dev,
            "settings": settings.body(),
            "versions": recipe.versions,
        }
    )


def evaluation_key(
    plan: Plan, inputs: Inputs, baseline: Digest, artifact: Artifact, fingerprint: Fingerprint
) -> Digest:
    return digest_of(
        {
            "play": "evaluate",
            "baseline": baseline,
            "artifact": artifact.sha256,
            "heldout": inputs.heldout.content,
            "served": served(plan),
            "fingerprint": fingerprint.digest(),
        }
    )


def measured_again_key(evaluation: Evaluation) -> Digest:
    """Of what came out, because the same work may give something else each time it is done."""
    return digest_of({"play": "revalidate", "evaluation": evaluation.digest()})


def decision_key(
    plan: Plan,
    evaluation: Digest,
    attempt: int,
    changes: Sequence[GateChange],
    waivers: Sequence[Waiver],
    standards: StandardsCheck | None = None,
) -> Digest:
    return digest_of(
        {
            "play": "gate",
            "rules": rule.RULES,
            "gate": plan.gate_digest(),
            "envelope": plan.envelope.body(),
            "evaluation": evaluation,
            "attempt": attempt,
            "changes": [change.body() for change in changes],
            "waivers": [waiver.body() for waiver in waivers],
            **({"standards": standards.body()} if standards is not None else {}),
        }
    )


def package_key(plan: Plan, decision: Digest) -> Digest:
    return digest_of({"play": "lock", "plan": plan.digest(), "decision": decision})


def served(plan: Plan) -> dict[str, object]:
    """The load under which speed and memory are measured; the flags of a server, whose version is in the fingerprint."""
    envelope = plan.envelope
    told: dict[str, object] = {"context_tokens": envelope.context_tokens, "batch": envelope.batch}
    if envelope.cache_type is not None:
        told["cache_type"] = envelope.cache_type
    if envelope.runtime in SERVERS:
        told["flags"] = flags(envelope.runtime, envelope.context_tokens, envelope.batch, envelope.cache_type or "f16")
    return told
