"""What determines each play's result. Equal keys mean: it has been done, look it up; a play never runs twice for one key."""

from __future__ import annotations

from collections.abc import Sequence

from quantplay.calibration import RULES
from quantplay.digest import digest_of
from quantplay.harness.identity import harness_digest
from quantplay.plan import Plan
from quantplay.records import Artifact, Digest, Fingerprint, GateChange, Inputs, Recipe, Waiver


def harness_of(plan: Plan, inputs: Inputs) -> Digest:
    """Digest of the harness in use now, over these items and this decoding."""
    return harness_digest(inputs.evaluation.content, plan.decoding, served(plan))


def calibration_key(plan: Plan, inputs: Inputs) -> Digest:
    """Everything the samples are compared with, how much of them is read, and what the plan waives."""
    waived = [deviation.body() for deviation in plan.deviations if deviation.rule.startswith("calibration.")]
    return digest_of(
        {
            "play": "calibration",
            "rules": RULES,
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


def baseline_key(plan: Plan, inputs: Inputs, harness: Digest, fingerprint: Fingerprint) -> Digest:
    """Model, evaluation set, harness, hardware and stack; and what the plan lets vary in how it is measured."""
    return digest_of(
        {
            "play": "baseline",
            "model": inputs.model.content,
            "evaluation": inputs.evaluation.content,
            "heldout": inputs.heldout.content,
            "harness": harness,
            "fingerprint": fingerprint.digest(),
            "served": served(plan),
            "hardest_share": plan.gate.hardest.share,
            "seed": plan.seed,
        }
    )


def renewed_key(identity: Digest, generation: int) -> Digest:
    """Key of the baseline measured again because the one before had expired or was revoked; `identity` is the first one's."""
    return identity if generation == 0 else digest_of({"baseline": identity, "generation": generation})


def envelope_key(plan: Plan, inputs: Inputs, fingerprint: Fingerprint) -> Digest:
    return digest_of(
        {
            "play": "envelope",
            "model": inputs.model.content,
            "envelope": plan.envelope.body(),
            "fingerprint": fingerprint.digest(),
        }
    )


def artifact_key(recipe: Recipe) -> Digest:
    return digest_of({"play": "ptq", "recipe": recipe.digest()})


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


def decision_key(
    plan: Plan, evaluation: Digest, attempt: int, changes: Sequence[GateChange], waivers: Sequence[Waiver]
) -> Digest:
    return digest_of(
        {
            "play": "gate",
            "gate": plan.gate_digest(),
            "envelope": plan.envelope.body(),
            "evaluation": evaluation,
            "attempt": attempt,
            "changes": [change.body() for change in changes],
            "waivers": [waiver.body() for waiver in waivers],
        }
    )


def package_key(plan: Plan, decision: Digest) -> Digest:
    return digest_of({"play": "lock", "plan": plan.digest(), "decision": decision})


def served(plan: Plan) -> dict[str, int]:
    """The load under which speed and memory are measured."""
    return {"context_tokens": plan.envelope.context_tokens, "batch": plan.envelope.batch}
