"""Whole records for tests of the gate, built from counts of lost and won items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantplay.digest import digest_of
from quantplay.plan import Envelope, Gate
from quantplay.records import (
    Arm,
    ArmRun,
    Artifact,
    Baseline,
    Divergence,
    Evaluation,
    Fingerprint,
    Hardware,
    ItemResult,
    NoiseFloor,
    Performance,
    Software,
    Spread,
)

MIB = 1 << 20
HARNESS, MODEL, FILE = digest_of("harness"), digest_of("model"), digest_of("file")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything `decide` reads."""

    gate: Gate
    baseline: Baseline
    evaluation: Evaluation
    envelope: Envelope
    artifact: Artifact

    def arguments(self) -> tuple[tuple[Gate, Baseline, Evaluation], dict[str, Any]]:
        return (self.gate, self.baseline, self.evaluation), {"envelope": self.envelope, "artifact": self.artifact}


def gate_of(slices: Sequence[str], max_drop: float = 4.0, broken_drop: float = 8.0, **more: object) -> Gate:
    return Gate.model_validate(
        {
            "slices": {name: {"max_drop": max_drop, "broken_drop": broken_drop} for name in slices},
            "hardest": {"max_drop": 9.0, "broken_drop": 18.0, "max_loss_rise": 0.1, "broken_loss_rise": 0.3},
            **more,
        }
    )


def performance(**changed: object) -> Performance:
    values: dict[str, object] = {
        "context_tokens": 256,
        "batch": 4,
        "threads": 1,
        "repeats": 5,
        "time_to_first_token_ms": Spread(p50=20, p95=30),
        "time_per_token_ms": Spread(p50=2, p95=3),
        "prompt_tokens_per_second": 4000,
        "generated_tokens_per_second": 1000,
        "weights_bytes": 3 * MIB,
        "cache_bytes": MIB,
        "peak_resident_bytes": 100 * MIB,
    }
    return Performance.model_validate(values | changed)


FULL = performance(weights_bytes=10 * MIB, peak_resident_bytes=120 * MIB, time_per_token_ms=Spread(p50=2.5, p95=4))


def fingerprint(cpu: str = "a cpu", threads: int = 1) -> Fingerprint:
    hardware = Hardware(cpu=cpu, cpu_features=digest_of(cpu), cores=2, memory_bytes=8 << 30)
    return Fingerprint(
        hardware=hardware,
        software=Software(system="linux", python="3.11", packages={}, runtime="llama.cpp"),
        threads=threads,
    )


def divergence(**changed: float) -> Divergence:
    values = {
        "tokens": 10_000,
        "mean_kl_nats": 0.01,
        "mean_kl_se": 0.001,
        "p99_kl_nats": 0.2,
        "max_kl_nats": 1.0,
        "top1_agreement": 0.97,
        "top1_se": 0.002,
        "perplexity_reference": 4.0,
        "perplexity_candidate": 4.05,
        "log_perplexity_ratio_se": 0.002,
    }
    return Divergence.model_validate(values | changed)


def arm(name: Arm, items: Sequence[ItemResult], **changed: object) -> ArmRun:
    values: dict[str, object] = {
        "arm": name,
        "runtime": "transformers" if name == "source" else "llama.cpp",
        "precision": "float32",
        "model": FILE if name == "candidate" else MODEL,
        "split": "gate",
        "harness": HARNESS,
        "items": tuple(items),
        "seconds": 1.0,
        "peak_resident_bytes": MIB,
    }
    return ArmRun.model_validate(values | changed)


def item(key: str, slice_name: str, score: float, cluster: str | None = None) -> ItemResult:
    return ItemResult(
        id=key, slice=slice_name, cluster=cluster or key, score=score, graded=score not in (0, 1), response="x"
    )


def flipped(
    name: str, items: int, lost: int, won: int, wrong: int = 0, a_document: int = 1
) -> list[tuple[ItemResult, float]]:
    """Items of one slice with the candidate's score: first the lost, then the won, `wrong` in both arms, the rest right."""
    scores = [(1, 0)] * lost + [(0, 1)] * won + [(0, 0)] * wrong
    scores += [(1, 1)] * (items - len(scores))
    return [
        (item(f"{name}-{i:04d}", name, before, f"{name}-doc-{i // a_document}"), after)
        for i, (before, after) in enumerate(scores)
    ]


def case(
    changes: Mapping[str, tuple[int, int]],
    *,
    items: int = 600,
    a_document: int = 1,
    gate: Gate | None = None,
    loss_rise: float = 0.0,
    hardest: Sequence[str] | None = None,
    conversion: int = 0,
    floor: Mapping[str, float] | None = None,
    envelope: Envelope | None = None,
    baseline_changes: Mapping[str, object] | None = None,
    evaluation_changes: Mapping[str, object] | None = None,
) -> Case:
    """A comparison with (lost, won) items a slice; the hardest items are unchanged ones from the end of each slice.

    `conversion`: how many items of every slice, from the front, the reference arm gets wrong although the source had
    them right.
    """
    pairs = [
        pair for name, (lost, won) in changes.items() for pair in flipped(name, items, lost, won, a_document=a_document)
    ]
    source = [before for before, _ in pairs]
    reference = [
        before.model_copy(update={"score": 0.0}) if int(before.id.rsplit("-", 1)[1]) < conversion else before
        for before in source
    ]
    candidate = [before.model_copy(update={"score": float(after)}) for before, after in pairs]
    last = items // 2
    keys = hardest or [f"{name}-{i:04d}" for name in changes for i in range(last, items)]
    losses = {key: 0.5 + (index % 7) / 10 for index, key in enumerate(keys)}
    baseline = Baseline.model_validate(
        {
            "model": MODEL,
            "evaluation": digest_of("set"),
            "harness": HARNESS,
            "fingerprint": fingerprint(),
            "precision": "float32",
            "source": arm("source", source),
            "reference": arm("reference", reference),
            "hardest": tuple(keys),
            "difficulty": "pass rate",
            "noise_floor": NoiseFloor(changed="batch", items=items, flip_rate=0, max_drop_points=dict(floor or {})),
            "performance": FULL,
            **(baseline_changes or {}),
        }
    )
    evaluation = Evaluation.model_validate(
        {
            "baseline": baseline.digest(),
            "artifact": FILE,
            "harness": HARNESS,
            "fingerprint": fingerprint(),
            "candidate": arm("candidate", candidate),
            "divergence": divergence(),
            "performance": performance(),
            "reference_performance": FULL,
            "hardest_loss_reference": losses,
            "hardest_loss_candidate": {
                key: loss + loss_rise * (1 + (index % 3 - 1) / 10) for index, (key, loss) in enumerate(losses.items())
            },
            **(evaluation_changes or {}),
        }
    )
    artifact = Artifact(
        recipe=digest_of("recipe"),
        format="gguf",
        type="Q4_K_M",
        file_name="model.gguf",
        sha256=FILE,
        size_bytes=3 * MIB,
        bits_per_weight=4.5,
        tensors={},
        importance_matrix=None,
        seconds=1.0,
        peak_resident_bytes=MIB,
    )
    return Case(
        gate=gate or gate_of(list(changes)),
        baseline=baseline,
        evaluation=evaluation,
        envelope=envelope or Envelope(),
        artifact=artifact,
    )
