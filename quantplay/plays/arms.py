"""One arm over the gate split, in a child process: the piece plays 1 and 4 share, so that both use the identical harness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantplay import process
from quantplay.formats import SERVERS
from quantplay.plan import Plan
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.records import Arm, ArmRun, Digest, ItemResult

EVALUATION_BATCH = 64
SMALL_MODEL_BYTES = 64 * 2**20


def quality_threads(pinned: Pinned, threads: int) -> int:
    """Threads for runs whose speed nobody measures: one for a small model, where waking a second one costs more than it does
    (3,000 pilot items through llama.cpp: 18 s with one thread, 70 s with two)."""
    return 1 if pinned.inputs.model.size_bytes < SMALL_MODEL_BYTES else threads


def evaluate_arm(
    arm: Arm,
    plan: Plan,
    pinned: Pinned,
    *,
    harness: Digest,
    model: Path,
    model_digest: Digest,
    runtime: str,
    threads: int,
    batch: int | None = None,
    order_seed: int | None = None,
    only_ids: Sequence[str] | None = None,
    gold_loss_ids: Sequence[str] = (),
    on_progress: Report | None = None,
) -> ArmRun:
    """Answers and scores of `model`, served by `runtime` (one of harness/quality.py's), on the gate split (or on `only_ids` of it), item by item.

    A server is asked as many at once as it will be.
    """
    batch = batch or (plan.envelope.batch if runtime in SERVERS else EVALUATION_BATCH)
    outcome = process.run(
        "quantplay.harness.quality:evaluate_job",
        {
            "runtime": runtime,
            "model": str(model),
            "files": [str(pinned.paths.gate)],
            "tasks": [str(path) for path in pinned.paths.tasks],
            "allow_code": list(plan.evaluation.allow_code),
            "decoding": plan.decoding.body(),
            "batch": batch,
            "threads": threads,
            "order_seed": order_seed,
            "context_tokens": plan.envelope.context_tokens,
            "cache_type": plan.envelope.cache_type,
            "gold_loss_ids": list(gold_loss_ids),
            "only_ids": list(only_ids) if only_ids is not None else None,
            "tokenizer": str(pinned.paths.model),
        },
        threads=threads,
        on_progress=on_progress,
    )
    return ArmRun(
        arm=arm,
        runtime=runtime,
        precision=outcome.value["precision"],
        model=model_digest,
        split="gate",
        harness=harness,
        items=tuple(ItemResult.model_validate(item) for item in outcome.value["items"]),
        seconds=round(outcome.seconds, 3),
        peak_resident_bytes=outcome.peak_resident_bytes,
        prompts=outcome.value["prompts"],
        tokens=outcome.value["tokens"],
        serving=outcome.value["serving"],
    )
