"""Time to the first token and per token, from what has to be read and computed and how fast the machine does either.

The roofline model (Williams, Waterman and Patterson, 2009, doi:10.1145/1498765.1498785), per stored type: a step takes the larger of
reading its weights from memory and computing with them. Weights that fit in the last cache are not read from memory. Where a
machine was probed, the rates are those of the kernels themselves, so what unpacking a type costs is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from quantplay.envelope.mix import FULL_PRECISION, Shape, stored_bytes
from quantplay.envelope.shape import ModelShape
from quantplay.records import Bound, Machine

ANSWER_TOKENS = 32  # that a request of the measured load generates, at most
CALL_PS = 46e6  # picoseconds of a call into llama.cpp from Python and back: batch, graph, logits
SEQUENCE_PS = 5e6  # more for every sequence that takes part: its tokens in, its logits out
ELEMENT_PS = 1000.0  # of a number that norms, rotations, sums and activations touch, on one thread
HIDDEN_TOUCHES, INNER_TOUCHES = (
    10,
    3,
)  # how often a layer does so, a number of the hidden state and of the feed-forward part
MICRO_BATCH = 512
BANDWIDTH_SHARE = 0.7  # of a datasheet's bandwidth that decoding reaches
COMPUTE_SHARE = 0.5  # of a datasheet's arithmetic that reading a prompt reaches
LAUNCH_US = 4.0  # a step of the computation on an accelerator
STEPS_A_LAYER = 12
NODES_A_LAYER = 24  # of llama.cpp's graph


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a plan asks of a server."""

    context_tokens: int
    batch: int
    cache_bits: float = 16  # of a number in the key-value cache

    @property
    def answer(self) -> int:
        return max(2, min(ANSWER_TOKENS, self.context_tokens // 4))

    @property
    def prompt(self) -> int:
        return max(1, self.context_tokens - self.answer)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one pass over the model has to do, by stored type."""

    read: Mapping[str, float]  # type -> weights read from where they lie
    computed: Mapping[str, float]  # type -> weights a token is multiplied with, of `tokens` tokens together
    tokens: int
    read_bytes: float
    attended: float  # positions of the past, summed over tokens, query heads and layers
    elements: float  # numbers touched beside multiplying
    sequences: int
    at_once: float  # tokens of one sequence that attend together
    head_dim: int
    cache_read_bytes: float

    @property
    def flops(self) -> float:
        return 2 * sum(self.computed.values()) + 4 * self.head_dim * self.attended


@dataclass(frozen=True, kw_only=True)
class Time:
    """Seconds of one pass, and what they go to."""

    reading: float  # were memory all there is
    computing: float
    attention: float
    overhead: float
    total: float

    def with_reading(self, seconds: float) -> Time:
        """The same with so much more traffic to memory, which nothing hides."""
        return replace(self, reading=self.reading + seconds, total=self.total + seconds)

    @property
    def bound(self) -> Bound:
        shares: dict[Bound, float] = {
            "memory bandwidth": self.reading, "compute": self.computing + self.attention, "overhead": self.overhead,
        }  # fmt: skip
        return max(shares, key=lambda name: shares[name])


def work_of(
    shape: ModelShape, types: Mapping[str, str], *, tokens: int, outputs: int, past: float, sequences: int, sizes: Mapping[str, int],
    cache_bits: float = 16,
) -> Work:  # fmt: skip
    """One pass of `tokens` tokens of `sequences` sequences, each with `past` tokens before it.

    types: tensor -> stored type; sizes: tensor -> its bytes; outputs: tokens whose logits are wanted.
    """
    tied = "output.weight" not in shape.tensors
    read: dict[str, float] = {}
    computed: dict[str, float] = {}
    total = 0.0
    for name, one in shape.tensors.items():
        share, times = used(shape, name, one, tokens, outputs, tied)
        if not times:
            continue
        kind = types[name]
        read[kind] = read.get(kind, 0.0) + share * prod(one)
        computed[kind] = computed.get(kind, 0.0) + times * prod(one)
        total += share * sizes[name]
    inner = max(shape.intermediate if not shape.experts else 0, shape.experts_used * expert_rows(shape))
    touched = HIDDEN_TOUCHES * shape.hidden + INNER_TOUCHES * inner
    within = min(past, shape.window) if shape.window else past
    positions = (shape.layers - shape.window_layers) * past + shape.window_layers * within
    return Work(
        read=read, computed=computed, tokens=tokens, read_bytes=total, attended=shape.heads * tokens * positions,
        elements=float(shape.layers * tokens * touched), sequences=sequences,
        at_once=tokens / sequences, head_dim=shape.head_dim,
        cache_read_bytes=2 * cache_bits / 8 * shape.key_value_heads * shape.head_dim * sequences * positions,
    )  # fmt: skip


def expert_rows(shape: ModelShape) -> int:
    return max((one[1] for name, one in shape.tensors.items() if "ffn_gate_exps" in name), default=0)


def used(shape: ModelShape, name: str, one: Shape, tokens: int, outputs: int, tied: bool) -> tuple[float, float]:
    """(share of a tensor that is read, times each of its weights is multiplied on average)."""
    if len(one) < 2:
        return 0.0, 0.0
    if name == "token_embd.weight" and not tied:
        return 0.0, 0.0  # rows are looked up
    if name in ("output.weight", "token_embd.weight"):
        return (1.0, float(outputs)) if outputs else (0.0, 0.0)
    if name.startswith(f"blk.{shape.layers - 1}.ffn_"):
        tokens = outputs  # of the last layer only what leads to logits is computed
    if "_exps." in name and shape.experts:
        part = shape.experts_used / shape.experts
        return 1 - (1 - part) ** tokens, part * tokens
    return 1.0, float(tokens)


def time_of(work: Work, machine: Machine, layers: int, arithmetic: str) -> Time:
    """Seconds `work` takes on `machine`. arithmetic: a key of its `gflops`, where its kernels were not probed."""
    if machine.kernels:
        return probed_time(work, machine, layers)
    reading = (work.read_bytes + work.cache_read_bytes) / (BANDWIDTH_SHARE * 1e9 * machine.bandwidth_gb_s)
    computing = work.flops / (COMPUTE_SHARE * 1e9 * machine.gflops[arithmetic])
    overhead = 1e-6 * machine.node_us * STEPS_A_LAYER * layers
    return Time(
        reading=reading, computing=computing, attention=0.0, overhead=overhead, total=max(reading, computing) + overhead
    )


def probed_time(work: Work, machine: Machine, layers: int) -> Time:
    inside = resident_share(work.read_bytes + work.cache_read_bytes, machine.cache_bytes)
    reading = computing = total = 0.0
    for kind, weights in work.read.items():
        rate = machine.kernels.get(kind) or machine.kernels["F32"]
        times = work.computed[kind] / weights
        cached = at(rate.cached_ps, times)
        streamed = max(cached, at(rate.streamed_ps, min(times, max(int(batch) for batch in rate.streamed_ps))))
        computing += weights * cached
        reading += (1 - inside) * weights * rate.bits / 8 / machine.bandwidth_gb_s * 1000
        total += weights * (inside * cached + (1 - inside) * streamed)
    kept = (1 - inside) * work.cache_read_bytes / machine.bandwidth_gb_s * 1000
    reading += kept
    attention = work.attended * at(machine.attention_ps, min(work.at_once, 64)) + kept
    overhead = CALL_PS + SEQUENCE_PS * work.sequences + ELEMENT_PS * work.elements / max(1, machine.threads)
    overhead += 1e6 * machine.node_us * NODES_A_LAYER * layers
    picoseconds = 1e-12
    return Time(
        reading=picoseconds * reading, computing=picoseconds * computing, attention=picoseconds * attention,
        overhead=picoseconds * overhead, total=picoseconds * (total + attention + overhead),
    )  # fmt: skip


def resident_share(size: float, cache: int) -> float:
    """Share of what is read that the last cache still holds from the pass before: all of an eighth of it, nothing of half.

    It is shared with other cores, other programs and, on a rented machine, other tenants.
    """
    return min(1.0, max(0.0, (0.5 - size / max(1, cache)) / (0.5 - 0.125)))


def at(rates: Mapping[str, float], tokens: float) -> float:
    """Picoseconds a weight at so many tokens: between two that were measured, or in proportion beyond the largest."""
    known = sorted((int(batch), one) for batch, one in rates.items())
    if tokens <= known[0][0]:
        return known[0][1]
    for (low, before), (high, after) in pairwise(known):
        if tokens <= high:
            return before + (after - before) * (tokens - low) / (high - low)
    return known[-1][1] * tokens / known[-1][0]


def decode_work(shape: ModelShape, types: Mapping[str, str], sizes: Mapping[str, int], load: Load) -> Work:
    """One step: a token of every sequence, in the middle of its answer."""
    past = load.prompt + load.answer / 2
    return work_of(
        shape, types, sizes=sizes, tokens=load.batch, outputs=load.batch, past=past, sequences=load.batch,
        cache_bits=load.cache_bits,
    )  # fmt: skip


def prefill_time(
    shape: ModelShape, types: Mapping[str, str], sizes: Mapping[str, int], load: Load, machine: Machine, arithmetic: str
) -> Time:
    """One request reads its prompt, a micro batch at a time, and gets its first token."""
    parts = []
    for start in range(0, load.prompt, MICRO_BATCH):
        tokens = min(MICRO_BATCH, load.prompt - start)
        last = start + tokens == load.prompt
        work = work_of(
            shape, types, sizes=sizes, tokens=tokens, outputs=int(last), past=start + tokens / 2, sequences=1,
            cache_bits=load.cache_bits,
        )  # fmt: skip
        parts.append(time_of(work, machine, shape.layers, arithmetic))
    return Time(
        reading=sum(part.reading for part in parts), computing=sum(part.computing for part in parts),
        attention=sum(part.attention for part in parts), overhead=sum(part.overhead for part in parts),
        total=sum(part.total for part in parts),
    )  # fmt: skip


def kinds_of(types: Mapping[str, str]) -> set[str]:
    """Types that matrices are stored in."""
    return {kind for kind in types.values() if kind not in FULL_PRECISION} or set(types.values())


def sizes_of(shape: ModelShape, types: Mapping[str, str]) -> dict[str, int]:
    return {name: stored_bytes(types[name], one) for name, one in shape.tensors.items()}
