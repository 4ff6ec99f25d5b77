"""What every candidate is predicted to take and how fast it will be on one machine: memory and the roofline together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import prod

from quantplay.envelope.chips import Chip, kernel_of
from quantplay.envelope.memory import CACHE_TYPE, MemoryEstimate, estimate
from quantplay.envelope.mix import block_size, stored_bytes, stored_types
from quantplay.envelope.packed import is_packed, linear_bytes
from quantplay.envelope.roofline import Load, decode_work, prefill_time, time_of
from quantplay.envelope.runtimes import runtime_of
from quantplay.envelope.shape import ModelShape
from quantplay.formats import TYPES, ServingType
from quantplay.plan import Envelope
from quantplay.records import Candidate, Machine, Prediction

FULL: dict[str, str] = {"llama.cpp": "F32", "llama.cpp-server": "F32", "transformers": "F32", "vllm": "BF16"}
"""Runtime -> what it runs at full precision. llama.cpp serves a float32 file of any source; every weight is kept."""
GGUF_FULL = ("F32", "F16", "BF16")
SAME = 1.3  # times: predictions of speed are no better, so candidates that near keep their order
MOST_PROBED = 64  # tokens at a time; more cost in proportion


def uses_importance(kind: ServingType) -> bool:
    """At 4 bits and below the calibration data steers the rounding; above it changes next to nothing."""
    return kind.needs_importance_matrix or kind.nominal_bits <= 4


def stored(shape: ModelShape, kind: str) -> tuple[dict[str, str], dict[str, int]]:
    """(tensor -> stored type, tensor -> bytes) of a file of serving type `kind`."""
    serving = TYPES[kind]
    if serving.format == "gguf":
        types = stored_types(
            shape.tensors, kind, layers=shape.layers, heads_per_group=shape.heads_per_group,
            importance=uses_importance(serving),
        )  # fmt: skip
        return types, {name: stored_bytes(types[name], one) for name, one in shape.tensors.items()}
    width, full = shape.source_width, "F32" if shape.source_width == 4 else "F16"
    packed = {name for name, one in shape.tensors.items() if is_packed(name, one)}
    return (
        {name: kind if name in packed else full for name in shape.tensors},
        {
            name: linear_bytes(one, kind, serving, width) if name in packed else width * prod(one)
            for name, one in shape.tensors.items()
        },
    )


def probed_types(shape: ModelShape, kinds: Sequence[str]) -> tuple[str, ...]:
    """ggml types that matrices of any of these serving types are stored in, most common first."""
    found: dict[str, int] = {}
    for kind in kinds:
        if TYPES[kind].format == "gguf":
            types, _ = stored(shape, kind)
            for name, one in shape.tensors.items():
                if len(one) > 1:
                    found[types[name]] = found.get(types[name], 0) + prod(one)
    return tuple(sorted(found, key=lambda kind: -found[kind]))


def memory_of(shape: ModelShape, kind: str, envelope: Envelope, machine: Machine | None) -> MemoryEstimate:
    return estimate(
        shape, kind, context_tokens=envelope.context_tokens, batch=envelope.batch, runtime=envelope.runtime,
        device=envelope.device, cache_type=envelope.cache_type, importance=uses_importance(TYPES[kind]),
        repacked=repacked_types(machine),
    )  # fmt: skip


def cache_bits(envelope: Envelope) -> float:
    """Of a number in the key-value cache, its block's scale included."""
    kind = (envelope.cache_type or CACHE_TYPE).upper()
    return 8 * stored_bytes(kind, (block_size(kind),)) / block_size(kind)


def repacked_types(machine: Machine | None) -> frozenset[str]:
    """Types that are laid out anew while loading, so that for a moment both layouts are in memory."""
    return frozenset(kind for kind, rate in machine.kernels.items() if rate.repacked) if machine else frozenset()


def predict(
    shape: ModelShape, kind: str, envelope: Envelope, machine: Machine, chip: Chip | None, found: MemoryEstimate
) -> Prediction:
    """Speed of `kind` under the envelope's load on `machine`; chip: its row of the table, None for a CPU that is here."""
    made = runtime_of(envelope.runtime)
    load = Load(
        context_tokens=envelope.context_tokens, batch=made.at_once(envelope.batch),
        cache_bits=cache_bits(envelope),
    )  # fmt: skip
    kernel = kernel_of(kind, TYPES[kind].format, envelope.runtime, chip)
    arithmetic = kernel.arithmetic if kernel.arithmetic in machine.gflops else "bfloat16"
    types, sizes = stored(shape, FULL[envelope.runtime] if kernel.unpacks else kind)
    work = decode_work(shape, types, sizes, load)
    step = time_of(work, machine, shape.layers, arithmetic)
    first = prefill_time(shape, types, sizes, load, machine, arithmetic)
    if kernel.unpacks:
        step, first = (one.with_reading(unpacking_seconds(shape, kind, envelope, machine)) for one in (step, first))
    token_ms, first_ms = 1000 * step.total + made.token_ms, 1000 * first.total + made.token_ms
    tokens_per_second = 1000 * load.batch / token_ms
    if load.batch < envelope.batch:  # the others wait until it is their turn
        request_ms = first_ms + (load.answer - 1) * token_ms
        first_ms += (envelope.batch / load.batch - 1) * request_ms
        tokens_per_second = 1000 * load.batch * load.answer / request_ms
    return Prediction(
        file_bytes=found.file_bytes,
        activation_bytes=found.working_bytes,
        reserve_bytes=found.reserve_bytes,
        native=kernel.native,
        kernel=kernel.words,
        time_to_first_token_ms=first_ms,
        time_per_token_ms=token_ms,
        tokens_per_second=tokens_per_second,
        decode_bound=step.bound,
        prefill_bound=first.bound,
        decode_bytes=round(work.read_bytes + work.cache_read_bytes),
        decode_flops=work.flops,
        shares={
            "reading memory": 1000 * step.reading, "computing": 1000 * step.computing,
            "attention": 1000 * step.attention, "overhead": 1000 * step.overhead,
        },
    )  # fmt: skip


def unpacking_seconds(shape: ModelShape, kind: str, envelope: Envelope, machine: Machine) -> float:
    """Reading every packed weight and writing it out at full precision, once; reading that is counted with its use."""
    full = TYPES[FULL[envelope.runtime]].bits_per_weight
    weights = sum(prod(one) for name, one in shape.tensors.items() if is_packed(name, one))
    return weights * (TYPES[kind].bits_per_weight + full) / 8 / (1e9 * machine.bandwidth_gb_s)


def missed_targets(envelope: Envelope, predicted: Prediction | None) -> tuple[str, ...]:
    """A clause for every target of speed that is predicted to be missed by more than predictions are good for."""
    if predicted is None:
        return ()
    missed = []
    first, wanted = envelope.max_time_to_first_token_ms, envelope.min_tokens_per_second
    if first is not None and predicted.time_to_first_token_ms > SAME * first:
        missed.append(
            f"first token after about {predicted.time_to_first_token_ms:,.0f} ms is over max_time_to_first_token_ms {first:g}"
        )
    if wanted is not None and SAME * predicted.tokens_per_second < wanted:
        missed.append(f"about {predicted.tokens_per_second:,.1f} tokens/s are below min_tokens_per_second {wanted:g}")
    return tuple(missed)


def speed_class(bottleneck: str, one: Candidate, best: float) -> int:
    """0 for candidates as good as the best at what is to be won, then 1, 2 ...; 0 for all where that is memory alone."""
    cost = cost_of(bottleneck, one)
    return 0 if cost is None or best <= 0 else int(math.log(cost / best) / math.log(SAME) + 1e-9)


def cost_of(bottleneck: str, one: Candidate) -> float | None:
    """What a candidate costs of the bottleneck; None where memory or storage is to be won, or nothing is predicted."""
    predicted = one.prediction
    if predicted is None or bottleneck in ("memory", "storage"):
        return None
    if bottleneck == "latency":
        return predicted.time_per_token_ms
    a_token = 1 / predicted.tokens_per_second
    return a_token if bottleneck == "throughput" else a_token * one.total_bytes


def predicted_words(predicted: Prediction | None, full: Prediction | None) -> str:
    """The prediction in a clause, beside full precision."""
    if predicted is None:
        return ""
    text = f"; about {predicted.time_per_token_ms:.3g} ms a token, held up by {predicted.decode_bound}"
    if full is not None:
        ratio = predicted.time_per_token_ms / full.time_per_token_ms
        text += f" ({ratio:.2f} of full precision's)"
    return text if predicted.native else f"{text}; not native: {predicted.kernel}"


def balance_sentence(machine: Machine, predicted: Prediction) -> str:
    """Whether the load is memory-bound or compute-bound, with the numbers."""
    intensity = predicted.decode_flops / max(1, predicted.decode_bytes)
    fastest = max(machine.gflops.values())
    parts = ", ".join(f"{name} {value:.3g} ms" for name, value in predicted.shares.items() if value > 0)
    return (
        f"{'Measured here' if machine.measured else 'By its datasheet'}, {machine.name} reads {machine.bandwidth_gb_s:,.0f} GB/s and "
        f"computes up to {fastest:,.0f} GFLOPS, {fastest / machine.bandwidth_gb_s:.0f} operations a byte; generating does "
        f"{intensity:.1f} a byte. A step: {parts}. Generating is held up by {predicted.decode_bound}, reading the prompt by "
        f"{predicted.prefill_bound}."
    )


def machine_types(machine: Machine) -> Mapping[str, float]:
    """Type -> GB/s it is read at while one token is computed, for people."""
    return {kind: 1000 * rate.bits / 8 / rate.streamed_ps["1"] for kind, rate in machine.kernels.items()}
