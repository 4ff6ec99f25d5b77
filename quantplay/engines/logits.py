"""From logits to probabilities, in float64 and in blocks, so that a large vocabulary does not fill the memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 22  # numbers a block: 32 MiB of float64

Floats = NDArray[np.float64]


def log_softmax(logits: NDArray[np.floating]) -> Floats:
    """Natural logarithm of the softmax over the last axis, float64, same shape."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def blocks(rows: int, vocabulary: int) -> Iterator[slice]:
    """Slices over `rows` rows of which each holds at most about `BLOCK` numbers."""
    step = max(1, BLOCK // vocabulary)
    return (slice(start, min(rows, start + step)) for start in range(0, rows, step))


def log_probabilities(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> Floats:
    """log p(target) of every row: logits (n, vocabulary), targets (n,) -> (n,) nats."""
    found = np.empty(len(targets))
    for part in blocks(*logits.shape):
        found[part] = np.take_along_axis(log_softmax(logits[part]), targets[part, None], axis=1)[:, 0]
    return found


def draw(logits: NDArray[np.floating], temperature: float, uniform: Floats) -> NDArray[np.int64]:
    """A token a row from the softmax at `temperature`, by inverting the distribution at `uniform` (n,) in [0, 1)."""
    tokens = np.empty(len(logits), np.int64)
    for part in blocks(*logits.shape):
        cumulative = np.exp(log_softmax(logits[part].astype(np.float64) / temperature)).cumsum(axis=1)
        below = cumulative <= uniform[part, None] * cumulative[:, -1:]
        tokens[part] = np.minimum(below.sum(axis=1), logits.shape[1] - 1)
    return tokens
