"""What a serving type will take: file, weights, key-value cache and working memory, before anything is quantized."""

from __future__ import annotations

from dataclasses import dataclass

from quantplay.envelope.mix import (
    BULK,
    FULL_PRECISION,
    block_size,
    is_meant_to_be_quantized,
    stored_bytes,
    stored_types,
)
from quantplay.envelope.packed import packed_bytes, unaligned
from quantplay.envelope.runtimes import runtime_of
from quantplay.envelope.shape import ModelShape
from quantplay.formats import TYPES

CACHE_PADDING = 256  # llama.cpp rounds the cache of a sequence up to this many tokens
CACHE_TYPE = "F16"  # of keys and values, where a plan says nothing
WIDE = 4  # bytes of a float32
RESERVE = 0.05  # share added for what no formula names: allocator, tokenizer tables, thread stacks
FILE_ALIGNMENT = 32
BYTES_PER_TOKEN_NAME = 25  # tokenizer table in the file: text with its length, score, kind
BYTES_PER_TENSOR_ENTRY = 80
FILE_HEADER_BYTES = 2048
BYTES_PER_TOKEN_BESIDE = 50  # tokenizer.json of a folder: text, number, merges


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes one type takes while serving `batch` sequences of `context_tokens`."""

    weights_bytes: int  # as stored; exact for dense decoder models
    held_bytes: (
        int  # weights in memory while it serves: as stored, or unpacked where the runtime computes on unpacked ones
    )
    weights: int  # how many numbers that is
    file_bytes: int  # weights, tokenizer and header
    cache_bytes: int
    activation_bytes: int
    reserve_bytes: int
    loading_bytes: int = 0  # held twice for a moment while weights are laid out anew
    fallbacks: tuple[str, ...]  # tensors whose rows don't fit the type's blocks, so that another type takes over

    @property
    def working_bytes(self) -> int:
        """Loading is over before working memory is taken: the larger of the two."""
        return max(self.activation_bytes, self.loading_bytes)

    @property
    def total_bytes(self) -> int:
        return self.held_bytes + self.cache_bytes + self.working_bytes + self.reserve_bytes

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.weights_bytes / self.weights


def estimate(
    shape: ModelShape, kind: str, *, context_tokens: int, batch: int, importance: bool, runtime: str = "llama.cpp",
    device: str = "cpu", cache_type: str | None = None, repacked: frozenset[str] = frozenset(),
) -> MemoryEstimate:  # fmt: skip
    """Estimate type `kind` of formats.TYPES served by `runtime` on a cpu or a gpu. Weights follow the format's own rules;
    activations and reserve are upper estimates. repacked: ggml types the runtime lays out anew while it loads them."""
    made = runtime_of(runtime)
    batch = made.at_once(batch)
    wide = runtime == "transformers" and device == "cpu"  # computes in float32 there, and keeps its cache so
    cache = cache_bytes(
        shape,
        context_tokens=context_tokens,
        batch=batch,
        cache_type=(cache_type or ("f32" if wide else CACHE_TYPE)).upper(),
        windows=made.windows,
        padding=made.padding,
    )
    activations = activation_bytes(shape, context_tokens=context_tokens, batch=batch, micro_batch=made.micro_batch)
    if TYPES[kind].format == "gguf":
        types = gguf_types(shape, kind, importance)
        sizes = [stored_bytes(types[name], size) for name, size in shape.tensors.items()]
        weights_bytes = sum(sizes)
        loading = sum(size for name, size in zip(shape.tensors, sizes, strict=True) if types[name] in repacked)
        beside = sum(-size % FILE_ALIGNMENT for size in sizes) + FILE_HEADER_BYTES
        beside += BYTES_PER_TENSOR_ENTRY * len(sizes) + BYTES_PER_TOKEN_NAME * shape.vocabulary
        short, held = fallbacks(shape, kind), weights_bytes
    else:
        weights_bytes, loading = packed_bytes(shape, kind, full_bytes=shape.source_width), 0
        beside = BYTES_PER_TENSOR_ENTRY * len(shape.tensors) + BYTES_PER_TOKEN_BESIDE * shape.vocabulary
        short, held = unaligned(shape, kind), weights_bytes
        if wide and TYPES[kind].format == "compressed-tensors":  # unpacked at the first pass, one layer after the other
            held = WIDE * shape.weights
        elif wide:
            held = packed_bytes(shape, kind, full_bytes=WIDE)
    return MemoryEstimate(
        weights_bytes=weights_bytes,
        held_bytes=held,
        weights=shape.weights,
        file_bytes=weights_bytes + beside,
        cache_bytes=cache,
        activation_bytes=activations,
        reserve_bytes=made.base_bytes + int(RESERVE * (held + cache + activations)),
        loading_bytes=loading,
        fallbacks=short,
    )


def gguf_types(shape: ModelShape, kind: str, importance: bool) -> dict[str, str]:
    """Tensor -> ggml type in a GGUF of the mix `kind`."""
    return stored_types(
        shape.tensors, kind, layers=shape.layers, heads_per_group=shape.heads_per_group, importance=importance
    )


def cache_bytes(
    shape: ModelShape, *, context_tokens: int, batch: int, cache_type: str = CACHE_TYPE, windows: bool = False,
    padding: int = CACHE_PADDING,
) -> int:  # fmt: skip
    """Keys and values of every layer and token, in ggml's type `cache_type`.

    windows: whether layers with a sliding window keep no more than it; llama.cpp keeps all of them unless told otherwise.
    """
    tokens = up(context_tokens, padding)
    within = min(tokens, up(shape.window, padding)) if windows and shape.window else tokens
    values = 2 * shape.key_value_heads * shape.head_dim * batch
    layers = (shape.layers - shape.window_layers) * tokens + shape.window_layers * within
    block = block_size(cache_type)
    return up(values * layers, block) // block * stored_bytes(cache_type, (block,))


def activation_bytes(shape: ModelShape, *, context_tokens: int, batch: int, micro_batch: int = 512) -> int:
    """Working memory for one micro batch: float32 logits or feed-forward part, attention inputs, float16 attention mask.

    With flash attention, llama.cpp's choice on the CPU, the scores themselves are never stored.
    """
    tokens = min(micro_batch, context_tokens * batch)
    widest = max(shape.vocabulary, 3 * inner(shape) + 2 * shape.hidden)
    return tokens * (4 * (widest + 4 * shape.hidden) + 2 * context_tokens)


def inner(shape: ModelShape) -> int:
    """Numbers a token has inside the feed-forward part, of all experts it uses."""
    return max(shape.intermediate, shape.experts_used * max_expert(shape))


def max_expert(shape: ModelShape) -> int:
    """Rows of one expert's first projection; 0 in a dense model."""
    return max((one[1] for name, one in shape.tensors.items() if "ffn_gate_exps" in name), default=0)


def up(value: int, step: int) -> int:
    """`value` rounded up to a multiple of `step`."""
    return -(-value // step) * step


def fallbacks(shape: ModelShape, kind: str) -> tuple[str, ...]:
    """Names of matrices whose rows are no multiple of the block of the type's bulk."""
    if BULK[kind] in FULL_PRECISION:
        return ()
    block = block_size(BULK[kind])
    return tuple(
        name for name, size in shape.tensors.items() if is_meant_to_be_quantized(name, size) and size[0] % block
    )
