"""Play 4, evaluate: the candidate through the identical harness, then the frozen gate."""

from __future__ import annotations

from pathlib import Path

from quantplay import process
from quantplay.errors import IntegrityError
from quantplay.formats import SERVERS
from quantplay.plan import Plan
from quantplay.plays.arms import evaluate_arm, quality_threads
from quantplay.plays.baseline import measure_speed
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.records import Artifact, Baseline, Digest, Divergence, Evaluation, Fingerprint


def evaluate_candidate(
    plan: Plan,
    pinned: Pinned,
    *,
    baseline: Baseline,
    baseline_key: Digest,
    artifact: Artifact,
    candidate: Path,
    reference: Path,
    harness: Digest,
    fingerprint: Fingerprint,
    threads: int,
    on_progress: Report | None = None,
) -> Evaluation:
    """Quality, divergence, speed and memory of the file `candidate` against full precision."""
    if harness != baseline.harness:
        raise IntegrityError(
            "the harness is not the one the baseline was measured with",
            value=harness,
            allowed=baseline.harness,
            fix="measure the baseline again with this harness; numbers of two harnesses can't be compared",
        )
    return measure_candidate(
        plan, pinned, baseline=baseline, baseline_key=baseline_key, artifact=artifact, candidate=candidate,
        reference=reference, harness=harness, fingerprint=fingerprint, threads=threads, on_progress=on_progress,
    )  # fmt: skip


def measure_candidate(
    plan: Plan,
    pinned: Pinned,
    *,
    baseline: Baseline,
    baseline_key: Digest,
    artifact: Artifact,
    candidate: Path,
    reference: Path,
    harness: Digest,
    fingerprint: Fingerprint,
    threads: int,
    on_progress: Report | None = None,
) -> Evaluation:
    """The same, by whatever harness: what compares the result with another one looks at its digest."""
    answering = quality_threads(pinned, threads)
    arm = evaluate_arm(
        "candidate", plan, pinned, harness=harness, model=candidate, model_digest=artifact.sha256,
        runtime=plan.envelope.runtime, threads=answering, gold_loss_ids=baseline.hardest, on_progress=on_progress,
    )  # fmt: skip
    speed = measure_speed(plan, pinned, {"reference": reference, "candidate": candidate}, threads, on_progress)
    hardest = set(baseline.hardest)
    return Evaluation(
        baseline=baseline_key,
        artifact=artifact.sha256,
        harness=harness,
        fingerprint=fingerprint,
        candidate=arm.model_copy(update={"precision": artifact.type}),
        divergence=measure_divergence(plan, pinned, reference, candidate, answering, on_progress),
        performance=speed["candidate"],
        reference_performance=speed["reference"],
        hardest_loss_reference=gold_losses(baseline.reference.items, hardest),
        hardest_loss_candidate=gold_losses(arm.items, hardest),
    )


def gold_losses(items: tuple, ids: set[str]) -> dict[str, float]:
    return {item.id: item.gold_loss_nats for item in items if item.id in ids and item.gold_loss_nats is not None}


def measure_divergence(
    plan: Plan, pinned: Pinned, reference: Path, candidate: Path, threads: int, on_progress: Report | None
) -> Divergence:
    """A server does not tell whole distributions, so there it is measured in process, and the record says so."""
    inside = SERVERS.get(plan.envelope.runtime)
    outcome = process.run(
        "quantplay.harness.divergence:divergence_job",
        {
            "runtime": inside or plan.envelope.runtime,
            "reference": str(reference),
            "candidate": str(candidate),
            "file": str(pinned.paths.heldout),
            "context_tokens": plan.envelope.context_tokens,
            "threads": threads,
        },
        threads=threads,
        on_progress=on_progress,
    )
    return Divergence.model_validate(outcome.value | ({"measured_in": inside} if inside else {}))
