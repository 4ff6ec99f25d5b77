"""Where a changed model differs from a kept one, what is kept, and which positions are scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantplay.errors import InputError

if TYPE_CHECKING:
    import torch

FEWEST_SEQUENCES = 2


@dataclass(frozen=True)
class Layout:
    """An assignment by place."""

    embedding: tuple[tuple[str, str], ...]
    blocks: tuple[tuple[tuple[str, str], ...], ...]
    head: tuple[tuple[str, str], ...]

    def shared_with(self, other: Layout) -> int:
        """The first block whose input differs or that differs itself; -1: the embedding does."""
        if self.embedding != other.embedding:
            return -1
        same = (mine == theirs for mine, theirs in zip(self.blocks, other.blocks, strict=True))
        return next((block for block, equal in enumerate(same) if not equal), len(self.blocks))


@dataclass(frozen=True)
class Kept:
    """The inputs of every block of one model, and after them its final hidden state: blocks + 1 times (rows, tokens, hidden)."""

    layout: Layout
    inputs: tuple[torch.Tensor, ...]


def scored_positions(tokens: int, positions: int | None) -> np.ndarray:
    """The second half of a row without its last token, as llama.cpp scores; or that many of them, evenly spaced."""
    all_of_them = np.arange(tokens // 2, tokens - 1)
    if positions is None or positions >= len(all_of_them):
        return all_of_them
    return all_of_them[np.linspace(0, len(all_of_them) - 1, positions).round().astype(int)]


def require_rows(rows: np.ndarray) -> None:
    if rows.ndim != 2 or rows.shape[0] < FEWEST_SEQUENCES or rows.shape[1] < 4:
        raise InputError(
            "too few held-out sequences to measure sensitivity", value=f"{rows.shape}",
            allowed=f"at least {FEWEST_SEQUENCES} sequences of 4 tokens and more",
            fix="add calibration texts, or lower mixed_precision.tokens",
        )  # fmt: skip
