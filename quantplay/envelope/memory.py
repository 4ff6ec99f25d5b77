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
from quantplay.envelope.shape import ModelShape

CACHE_PADDING = 256  # llama.cpp rounds the cache of a sequence up to this many tokens
CACHE_BYTES_PER_VALUE = 2  # keys and values are float16 by default
MICRO_BATCH = 512  # tokens llama.cpp computes at once, at most
RESERVE = 0.05  # share added for what no formula names: allocator, tokenizer tables, thread stacks
RUNTIME_BYTES = (
    45 * 2**20
)  # measured: Python with llama.cpp's libraries and no model; play 4 measures the whole process
FILE_ALIGNMENT = 32
BYTES_PER_TOKEN_NAME = 25  # tokenizer table in the file: text with its length, score, kind
BYTES_PER_TENSOR_ENTRY = 80
FILE_HEADER_BYTES = 2048


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes one type takes while serving `batch` sequences of `context_tokens`."""

    weights_bytes: int  # exact for dense decoder models
    weights: int  # how many numbers that is
    file_bytes: int  # weights, tokenizer and header
    cache_bytes: int
    activation_bytes: int
    reserve_bytes: int
    fallbacks: tuple[str, ...]  # tensors whose rows don't fit the type's blocks, so that another type takes over

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.cache_bytes + self.activation_bytes + self.reserve_bytes

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.weights_bytes / self.weights


def estimate(shape: ModelShape, kind: str, *, context_tokens: int, batch: int, importance: bool) -> MemoryEstimate:
    """Estimate type `kind` of formats.TYPES. Weights follow llama.cpp's own mix; the rest is an upper estimate."""
    types = stored_types(
        shape.tensors, kind, layers=shape.layers, heads_per_group=shape.heads_per_group, importance=importance
    )
    sizes = [stored_bytes(types[name], size) for name, size in shape.tensors.items()]
    weights_bytes = sum(sizes)
    padded = sum(-size % FILE_ALIGNMENT for size in sizes)
    header = FILE_HEADER_BYTES + BYTES_PER_TENSOR_ENTRY * len(sizes) + BYTES_PER_TOKEN_NAME * shape.vocabulary
    cache = cache_bytes(shape, context_tokens=context_tokens, batch=batch)
    activations = activation_bytes(shape, context_tokens=context_tokens, batch=batch)
    return MemoryEstimate(
        weights_bytes=weights_bytes,
        weights=shape.weights,
        file_bytes=weights_bytes + padded + header,
        cache_bytes=cache,
        activation_bytes=activations,
        reserve_bytes=RUNTIME_BYTES + int(RESERVE * (weights_bytes + cache + activations)),
        fallbacks=fallbacks(shape, kind),
    )


def cache_bytes(shape: ModelShape, *, context_tokens: int, batch: int) -> int:
    """Keys and values of every layer and token. Sliding windows and compressed caches take less."""
    padded = -(-context_tokens // CACHE_PADDING) * CACHE_PADDING
    return 2 * shape.layers * shape.key_value_heads * shape.head_dim * padded * batch * CACHE_BYTES_PER_VALUE


def activation_bytes(shape: ModelShape, *, context_tokens: int, batch: int) -> int:
    """Working memory for one micro batch: float32 logits or feed-forward part, attention inputs, float16 attention mask.

    With flash attention, llama.cpp's choice on the CPU, the scores themselves are never stored.
    """
    tokens = min(MICRO_BATCH, context_tokens * batch)
    widest = max(shape.vocabulary, 3 * shape.intermediate + 2 * shape.hidden)
    return tokens * (4 * (widest + 4 * shape.hidden) + 2 * context_tokens)


def fallbacks(shape: ModelShape, kind: str) -> tuple[str, ...]:
    """Names of matrices whose rows are no multiple of the block of the type's bulk."""
    if BULK[kind] in FULL_PRECISION:
        return ()
    block = block_size(BULK[kind])
    return tuple(
        name for name, size in shape.tensors.items() if is_meant_to_be_quantized(name, size) and size[0] % block
    )
