"""The promises of play 2 against what was measured: size, memory, speed, and the win the whole exercise was for."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.plan import Envelope
from quantplay.records import Artifact, EnvelopeCheck, Evaluation, Performance

MIB = 1 << 20
RELATIVE = "of full precision"  # unit of a ratio against full precision in the serving runtime


def check_envelope(envelope: Envelope, evaluation: Evaluation, artifact: Artifact) -> tuple[EnvelopeCheck, ...]:
    """One check a limit the plan sets, and always the one for its bottleneck."""
    return (*limits(envelope, evaluation, artifact), bottleneck_win(envelope, evaluation, artifact))


def limits(envelope: Envelope, evaluation: Evaluation, artifact: Artifact) -> Iterator[EnvelopeCheck]:
    speed, full = evaluation.performance, evaluation.reference_performance
    if envelope.max_artifact_mib is not None:
        yield at_most("artifact size", artifact.size_bytes / MIB, envelope.max_artifact_mib, "MiB")
    if envelope.memory_mib is not None:
        yield at_most("peak memory", speed.peak_bytes / MIB, envelope.memory_mib, "MiB")
    if envelope.max_time_to_first_token_ms is not None:
        limit = envelope.max_time_to_first_token_ms
        yield at_most("time to first token, 95th percentile", speed.time_to_first_token_ms.p95, limit, "ms")
    if envelope.min_tokens_per_second is not None:
        measured, limit = speed.generated_tokens_per_second, envelope.min_tokens_per_second
        yield EnvelopeCheck(
            name="generation speed", limit=limit, measured=measured, unit="tokens/s", met=measured >= limit
        )
    if envelope.max_slowdown is not None:
        ratio = speed.time_per_token_ms.p50 / full.time_per_token_ms.p50
        yield at_most("time per token, median", ratio, envelope.max_slowdown, RELATIVE)


def at_most(name: str, measured: float, limit: float, unit: str) -> EnvelopeCheck:
    return EnvelopeCheck(name=name, limit=limit, measured=measured, unit=unit, met=measured <= limit)


def bottleneck_win(envelope: Envelope, evaluation: Evaluation, artifact: Artifact) -> EnvelopeCheck:
    """What the plan wanted to win, against full precision measured in the same session: must be below 1."""
    if envelope.bottleneck == "storage":
        ratio = artifact.size_bytes / evaluation.reference_performance.weights_bytes
        return EnvelopeCheck(
            name="storage won: size of the file", limit=1.0, measured=ratio, unit=RELATIVE, met=ratio < 1
        )
    name, cost = {
        "memory": ("memory won: weights and cache", served_bytes),
        "latency": ("latency won: time per token, median", seconds_a_token),
        "throughput": ("throughput won: machine time per token", machine_seconds),
        "cost": ("cost won: memory held times machine time per token", memory_seconds),
    }[envelope.bottleneck]
    ratio = cost(evaluation.performance) / cost(evaluation.reference_performance)
    return EnvelopeCheck(name=name, limit=1.0, measured=ratio, unit=RELATIVE, met=ratio < 1)


def served_bytes(speed: Performance) -> float:
    return float(speed.weights_bytes + speed.cache_bytes)


def seconds_a_token(speed: Performance) -> float:
    return speed.time_per_token_ms.p50 / 1000


def machine_seconds(speed: Performance) -> float:
    return 1 / speed.generated_tokens_per_second


def memory_seconds(speed: Performance) -> float:
    return served_bytes(speed) * machine_seconds(speed)
