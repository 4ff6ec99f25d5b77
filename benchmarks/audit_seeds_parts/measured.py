"""Baselines and evaluations of the oracle's cases: answers to the items of a set, speed and memory on a chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.audit_seeds_parts.sets import Asked, Row
from quantplay.formats import SERVERS
from quantplay.plan import Plan
from quantplay.plays import keys
from quantplay.records import (
    Arm,
    ArmRun,
    Artifact,
    Baseline,
    Digest,
    Divergence,
    Evaluation,
    Fingerprint,
    Inputs,
    ItemResult,
    NoiseFloor,
    Performance,
    Spread,
)

HARDEST_EVERY = 10  # one item in ten is among the hardest
GIB = 1 << 30


@dataclass(frozen=True)
class Answers:
    """What a candidate does to a slice's items: full precision gets `wrong` of them wrong as well."""

    lost: int = 1
    won: int = 1
    wrong: int = 5


def asked_items(asked: Asked) -> list[Row]:
    """Rows of gate.jsonl."""
    return [
        {
            "id": f"gate-{name}-{n:04d}",
            "slice": name,
            "document": f"gate-{name}-doc-{n:04d}",
            "prompt": prompt,
            "answer": answer,
            "scorer": asked.scorer,
        }
        for name, pairs in asked.items.items()
        for n, (prompt, answer) in enumerate(pairs)
    ]


def answered(asked: Asked, wrong: range) -> Iterator[ItemResult]:
    """Every item; those of a slice whose numbers are in `wrong` are wrong."""
    for row in asked_items(asked):
        right = int(row["id"].rsplit("-", 1)[1]) not in wrong
        said = row["answer"] if right else "something else"
        yield ItemResult(id=row["id"], slice=row["slice"], cluster=row["document"], score=float(right), response=said)


def arm(
    name: Arm, runtime: str, precision: str, model: Digest, harness: Digest, items: tuple[ItemResult, ...]
) -> ArmRun:
    return ArmRun(
        arm=name, runtime=runtime, precision=precision, model=model, split="gate", harness=harness, items=items, seconds=120,
        peak_resident_bytes=6 * GIB,
    )  # fmt: skip


def baseline_of(
    plan: Plan, inputs: Inputs, fingerprint: Fingerprint, asked: Asked, full: Digest, wrong: int
) -> Baseline:
    """`full`: the full-precision file of the serving runtime; `wrong`: items it gets wrong, a slice."""
    harness = keys.harness_of(plan, inputs)
    precision = "bfloat16" if fingerprint.hardware.accelerators else "float32"
    items = tuple(answered(asked, range(wrong)))
    hardest = [row["id"] for n, row in enumerate(asked_items(asked)) if n % HARDEST_EVERY == 0]
    return Baseline(
        model=inputs.model.content, evaluation=inputs.evaluation.content, harness=harness, fingerprint=fingerprint, precision=precision,
        source=arm("source", "transformers", precision, inputs.model.content, harness, items),
        reference=arm("reference", plan.envelope.runtime, precision, full, harness, items),
        hardest=tuple(hardest), difficulty="pass rate over prompts with other examples",
        noise_floor=NoiseFloor(changed="batch", items=len(items), flip_rate=0, max_drop_points={}),
        performance=performance(plan, fingerprint, time_per_token_ms=20, weights_bytes=2 * GIB),
    )  # fmt: skip


def performance(plan: Plan, fingerprint: Fingerprint, *, time_per_token_ms: float, weights_bytes: int) -> Performance:
    batch, on_server = plan.envelope.batch, plan.envelope.runtime in SERVERS
    return Performance(
        context_tokens=plan.envelope.context_tokens, batch=batch, threads=fingerprint.threads, repeats=5,
        time_to_first_token_ms=Spread(p50=40, p95=55), time_per_token_ms=Spread(p50=time_per_token_ms, p95=1.3 * time_per_token_ms),
        prompt_tokens_per_second=4000, generated_tokens_per_second=1000 * batch / time_per_token_ms, weights_bytes=weights_bytes,
        cache_bytes=GIB // 4, peak_resident_bytes=weights_bytes + GIB,
        device_bytes=weights_bytes + GIB if on_server and fingerprint.hardware.accelerators else None,
    )  # fmt: skip


def evaluation_of(baseline: Baseline, key: Digest, artifact: Artifact, answers: Answers) -> Evaluation:
    """The candidate: its `lost` items come after those full precision has wrong, of which it gets the first `won` right."""
    first = {item.slice: int(item.id.rsplit("-", 1)[1]) for item in reversed(baseline.source.items) if item.score == 1}

    def now(item: ItemResult) -> ItemResult:
        place = int(item.id.rsplit("-", 1)[1])
        start = first.get(item.slice, 0)
        if start and place < answers.won:
            return item.model_copy(update={"score": 1.0, "response": "right now"})
        if start <= place < start + answers.lost and item.score == 1:
            return item.model_copy(update={"score": 0.0, "response": "something else"})
        return item

    full, size = baseline.performance, artifact.size_bytes
    losses = dict.fromkeys(baseline.hardest, 0.3)
    return Evaluation(
        baseline=key, artifact=artifact.sha256, harness=baseline.harness, fingerprint=baseline.fingerprint,
        candidate=baseline.reference.model_copy(
            update={
                "arm": "candidate", "precision": artifact.type, "model": artifact.sha256,
                "items": tuple(now(item) for item in baseline.source.items),
            }
        ),
        divergence=Divergence(
            tokens=20_000, mean_kl_nats=0.01, mean_kl_se=0.001, p99_kl_nats=0.2, max_kl_nats=1, top1_agreement=0.97, top1_se=0.002,
            perplexity_reference=4, perplexity_candidate=4.03, log_perplexity_ratio_se=0.002,
        ),
        performance=full.model_copy(
            update={
                "time_per_token_ms": Spread(p50=11, p95=15), "generated_tokens_per_second": 1000 * full.batch / 11,
                "weights_bytes": size, "peak_resident_bytes": size + GIB,
                "device_bytes": size + GIB if full.device_bytes is not None else None,
            }
        ),
        reference_performance=full, hardest_loss_reference=losses,
        hardest_loss_candidate={name: loss + 0.005 for name, loss in losses.items()},
    )  # fmt: skip
