"""Play 1, baseline: the full-precision model on the frozen evaluation set, before anything is quantized.

Each arm runs in a child process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantplay import evalset, process
from quantplay.digest import digest_of_file
from quantplay.formats import SERVERS
from quantplay.plan import Plan
from quantplay.plays.arms import EVALUATION_BATCH, evaluate_arm, quality_threads
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.records import ArmRun, Baseline, Digest, Fingerprint, NoiseFloor, Performance

NOISE_ITEMS = 100  # a slice; enough to see an arithmetic difference, cheap enough to do every time


def measure_baseline(
    plan: Plan,
    pinned: Pinned,
    *,
    harness: Digest,
    fingerprint: Fingerprint,
    reference: Path,
    threads: int,
    on_progress: Report | None = None,
) -> Baseline:
    """Quality of the source model and of its conversion `reference` (full precision in the serving runtime), what is
    hardest, the noise floor, and speed and memory.
    """
    items = evalset.read_items(pinned.paths.gate)
    answering = quality_threads(pinned, threads)
    ranking = rank_hardest(plan, pinned, reference, answering, on_progress)
    hardest = [id_ for id_, _ in ranking["ranking"][: max(1, round(len(items) * plan.gate.hardest.share))]]
    converted = evaluate_arm(
        "reference", plan, pinned, harness=harness, model=reference, model_digest=digest_of_file(reference),
        runtime=plan.envelope.runtime, threads=answering, gold_loss_ids=hardest, on_progress=on_progress,
    )  # fmt: skip
    if plan.envelope.runtime == "transformers":
        source = same_runtime(converted, pinned)
    else:
        source = evaluate_arm(
            "source", plan, pinned, harness=harness, model=pinned.paths.model, model_digest=pinned.inputs.model.content,
            runtime="transformers", threads=answering, on_progress=on_progress,
        )  # fmt: skip
    floor = measure_noise_floor(plan, pinned, items, source, answering, on_progress)
    return Baseline(
        model=pinned.inputs.model.content,
        evaluation=pinned.inputs.evaluation.content,
        harness=harness,
        fingerprint=fingerprint,
        precision=source.precision,
        source=source,
        reference=converted,
        hardest=tuple(hardest),
        difficulty=ranking["how"],
        noise_floor=floor,
        performance=measure_reference_speed(plan, pinned, reference, threads, on_progress),
    )


def same_runtime(reference: ArmRun, pinned: Pinned) -> ArmRun:
    """The source arm where the serving runtime is the team's own: the same weights in the same runtime, measured once."""
    items = tuple(item.model_copy(update={"gold_loss_nats": None}) for item in reference.items)
    return reference.model_copy(update={"arm": "source", "model": pinned.inputs.model.content, "items": items})


def rank_hardest(
    plan: Plan, pinned: Pinned, reference: Path, threads: int, on_progress: Report | None
) -> dict[str, Any]:
    """`ranking`: (id, pass rate) of every gate item, hardest first; `how`: in words.

    By sampled answers rather than by the graded one, which would bias the drop. In process also where a server answers: a
    sample there depends on the seed, the prompt and its own number alone, behind a server on what else is asked as well.
    """
    runtime = plan.envelope.runtime
    outcome = process.run(
        "quantplay.harness.difficulty:difficulty_job",
        {
            "runtime": SERVERS.get(runtime, runtime),
            "model": str(reference),
            "files": [str(pinned.paths.gate)],
            "decoding": plan.decoding.body(),
            "context_tokens": plan.envelope.context_tokens,
            "batch": EVALUATION_BATCH,
            "seed": plan.seed,
            "threads": threads,
        },
        threads=threads,
        on_progress=on_progress,
    )
    return outcome.value


def measure_noise_floor(
    plan: Plan,
    pinned: Pinned,
    items: Sequence[evalset.EvalItem],
    source: ArmRun,
    threads: int,
    on_progress: Report | None,
) -> NoiseFloor:
    """The source model against itself with another batch size, item order and thread count, on the first items a slice."""
    taken: dict[str, list[str]] = {}
    for item in items:
        ids = taken.setdefault(item.slice, [])
        if len(ids) < NOISE_ITEMS:
            ids.append(item.id)
    other_threads = 1 if threads > 1 else 2
    other_batch = EVALUATION_BATCH // 4 + 1
    again = evaluate_arm(
        "source", plan, pinned, harness=source.harness, model=pinned.paths.model, model_digest=source.model,
        runtime="transformers", threads=other_threads, batch=other_batch, order_seed=plan.seed + 1,
        only_ids=[id_ for ids in taken.values() for id_ in ids], on_progress=on_progress,
    )  # fmt: skip
    first = {item.id: item for item in source.items}
    pairs = [(first[item.id], item) for item in again.items]
    drops: dict[str, list[float]] = {}
    for before, after in pairs:
        drops.setdefault(before.slice, []).append(before.score - after.score)
    return NoiseFloor(
        changed=f"batch {EVALUATION_BATCH} to {other_batch}, threads {threads} to {other_threads}, items shuffled",
        items=len(pairs),
        flip_rate=sum(a.score != b.score for a, b in pairs) / max(1, len(pairs)),
        max_drop_points={name: abs(100 * sum(values) / len(values)) for name, values in drops.items()},
    )


def measure_reference_speed(
    plan: Plan, pinned: Pinned, reference: Path, threads: int, on_progress: Report | None
) -> Performance:
    measured = measure_speed(plan, pinned, {"reference": reference}, threads, on_progress)
    return measured["reference"]


def measure_speed(
    plan: Plan, pinned: Pinned, models: dict[str, Path], threads: int, on_progress: Report | None
) -> dict[str, Performance]:
    """Speed and memory of every model in `models` at the plan's context and batch, interleaved."""
    payload: dict[str, Any] = {
        "runtime": plan.envelope.runtime,
        "models": {name: str(path) for name, path in models.items()},
        "tokenizer": str(pinned.paths.model),
        "file": str(pinned.paths.heldout),
        "context_tokens": plan.envelope.context_tokens,
        "cache_type": plan.envelope.cache_type,
        "batch": plan.envelope.batch,
        "threads": threads,
    }
    outcome = process.run("quantplay.harness.speed:speed_job", payload, threads=threads, on_progress=on_progress)
    return {name: Performance.model_validate(body) for name, body in outcome.value.items()}
