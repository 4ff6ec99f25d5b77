"""When quantization is the wrong move: every reason there is, in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantplay.plan import BusinessCase, Envelope, Gate
from quantplay.records import Candidate

RULE = "envelope.wrong_move"
MIB = 2**20
LEAST_SAVED = 0.1  # share of the memory in use
NO_TOLERANCE = 0.1  # percentage points: what rounding alone can move
SURELY_SLOWER = 1.3  # times full precision's time per token: predictions of speed are no better
DAYS = 30  # of a month


def wrong_moves(
    envelope: Envelope, gate: Gate | None, case: BusinessCase | None, full: Candidate, candidates: Sequence[Candidate]
) -> tuple[str, ...]:
    """Sentences; empty where nothing speaks against it."""
    return tuple(reasons(envelope, gate, case, full, candidates))


def reasons(
    envelope: Envelope, gate: Gate | None, case: BusinessCase | None, full: Candidate, candidates: Sequence[Candidate]
) -> Iterator[str]:
    smallest = min(candidates, key=lambda one: one.total_bytes)
    saved = 1 - smallest.total_bytes / full.total_bytes
    limits = limits_met(envelope, full)
    if envelope.bottleneck == "memory" and limits and all(met for _, met in limits):
        yield (
            f"Already small enough: full precision meets every limit of the plan ({', '.join(name for name, _ in limits)}), and memory "
            "is what was to be won."
        )
    elif envelope.bottleneck in ("memory", "cost") and not limits and saved < LEAST_SAVED:
        yield (
            f"Already small: the smallest candidate takes {smallest.total_bytes / MIB:,.0f} MiB in use, {saved:.0%} less than full "
            f"precision, because cache, working memory and the runtime itself are most of it."
        )
    if all(one.prediction is not None and not one.prediction.native for one in candidates):
        words = candidates[0].prediction.kernel if candidates[0].prediction else ""
        if envelope.bottleneck not in ("memory", "storage"):
            yield f"No native support: no candidate has a kernel of its own on this chip ({words}), so no time is won."
    elif envelope.bottleneck in ("latency", "throughput") and all(is_slower(one, full) for one in candidates):
        yield "Every candidate is predicted to be slower than full precision here, and speed is what was to be won."
    if gate is not None:
        strictest = min([one.max_drop for one in gate.slices.values()] + [gate.hardest.max_drop])
        if strictest < NO_TOLERANCE:
            yield (
                f"No tolerance for loss: the gate allows a drop of {strictest:g} points at most, less than the {NO_TOLERANCE:g} that "
                "rounding alone can move."
            )
    if case is not None and case.quantizing_cost > 0:
        gain = monthly_gain(case, full, smallest) * case.months
        if gain < case.quantizing_cost:
            yield (
                f"Too little volume: {case.requests_per_day:g} requests a day save {gain:,.2f} {case.currency} in {case.months:g} "
                f"months, and quantizing costs {case.quantizing_cost:,.2f}."
            )


def limits_met(envelope: Envelope, full: Candidate) -> list[tuple[str, bool]]:
    """Every limit the plan sets, and whether full precision is predicted to meet it."""
    found = []
    if envelope.memory_mib is not None:
        found.append(("memory_mib", full.total_bytes <= envelope.memory_mib * MIB))
    predicted = full.prediction
    if envelope.max_artifact_mib is not None:
        size = predicted.file_bytes if predicted else full.weights_bytes
        found.append(("max_artifact_mib", size <= envelope.max_artifact_mib * MIB))
    if predicted is not None:
        if envelope.max_time_to_first_token_ms is not None:
            found.append(
                ("max_time_to_first_token_ms", predicted.time_to_first_token_ms <= envelope.max_time_to_first_token_ms)
            )
        if envelope.min_tokens_per_second is not None:
            found.append(("min_tokens_per_second", predicted.tokens_per_second >= envelope.min_tokens_per_second))
    return found


def is_slower(one: Candidate, full: Candidate) -> bool:
    """By more than predictions are good for."""
    if one.prediction is None or full.prediction is None:
        return False
    return one.prediction.time_per_token_ms > SURELY_SLOWER * full.prediction.time_per_token_ms


def monthly_gain(case: BusinessCase, full: Candidate, smallest: Candidate) -> float:
    """What serving saves a month: the share of its cost the plan says, and the memory freed."""
    tokens = case.requests_per_day * DAYS * case.tokens_per_request
    saved = tokens / 1e6 * case.serving_cost_per_million_tokens * case.serving_saving_percent / 100
    return saved + case.worth_per_gib_month * (full.total_bytes - smallest.total_bytes) / 2**30
