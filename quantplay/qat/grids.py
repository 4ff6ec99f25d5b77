"""Grids: what rounding to a served type makes of a row of weights. Training, export and its check all round here and nowhere else.

To add a serving format: a class with `codes` and `values`, and its line in `GRIDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quantplay.engines import ggml
from quantplay.errors import InputError


class Grid(Protocol):
    """Rows are rounded each for itself, so any part of a tensor's rows can be rounded alone."""

    def codes(self, weights: np.ndarray) -> np.ndarray:
        """What is stored of float32 (rows, columns): uint8 (rows, bytes)."""
        ...

    def values(self, codes: np.ndarray, columns: int) -> np.ndarray:
        """What the runtime computes with: float32 (rows, columns)."""
        ...


@dataclass(frozen=True, kw_only=True)
class GgmlGrid:
    """A type of ggml, rounded by ggml itself."""

    kind: str
    importance: np.ndarray | None = None  # (columns,): only for types that can't be made without

    def codes(self, weights: np.ndarray) -> np.ndarray:
        return ggml.quantized(self.kind, weights, self.importance)

    def values(self, codes: np.ndarray, columns: int) -> np.ndarray:
        return ggml.restored(self.kind, codes, columns)


@dataclass(frozen=True, kw_only=True)
class SymmetricGroups:
    """4-bit integers with one scale a group, no zero point: s = amax / 7.5, q = clamp(round(w / s), -8, 7), ties to even.

    `codes` holds a row's integers first, two's complement, two a byte, the even column in the low half; then its float32 scales.
    """

    group: int = 128
    STEPS = 7.5
    LOW, HIGH = -8, 7

    def codes(self, weights: np.ndarray) -> np.ndarray:
        rows, columns = weights.shape
        if columns % self.group:
            raise InputError(
                "rows don't fit the groups", value=f"{columns} weights a row", allowed=f"multiples of {self.group}"
            )
        groups = np.ascontiguousarray(weights, np.float32).reshape(rows, columns // self.group, self.group)
        scales = np.abs(groups).max(axis=2) / np.float32(self.STEPS)
        divisors = np.where(scales == 0, np.float32(1), scales)[:, :, None]
        integers = np.clip(np.rint(groups / divisors), self.LOW, self.HIGH).astype(np.int8)
        nibbles = integers.reshape(rows, columns).view(np.uint8) & 15
        packed = nibbles[:, ::2] | (nibbles[:, 1::2] << 4)
        return np.concatenate([packed, scales.view(np.uint8).reshape(rows, -1)], axis=1)

    def values(self, codes: np.ndarray, columns: int) -> np.ndarray:
        integers, scales = self.integers(codes, columns), self.scales(codes, columns)
        return (integers.reshape(len(codes), -1, self.group) * scales[:, :, None]).reshape(len(codes), columns)

    def integers(self, codes: np.ndarray, columns: int) -> np.ndarray:
        """float32 (rows, columns) of whole numbers from -8 to 7."""
        packed = codes[:, : columns // 2]
        nibbles = np.stack([packed & 15, packed >> 4], axis=2).reshape(len(codes), columns).astype(np.float32)
        return np.where(nibbles > self.HIGH, nibbles - 16, nibbles)

    def scales(self, codes: np.ndarray, columns: int) -> np.ndarray:
        """float32 (rows, groups)."""
        return np.ascontiguousarray(codes[:, columns // 2 :]).view("<f4")


def int4_groups(kind: str, importance: np.ndarray | None) -> Grid:
    """`kind`: int4_g128. Full precision keeps its ggml name."""
    if kind in ("F32", "F16", "BF16"):
        return GgmlGrid(kind=kind)
    if kind != "int4_g128" or importance is not None:
        raise InputError("no such grid", value=kind, allowed="int4_g128, without an importance matrix")
    return SymmetricGroups()


GRIDS: dict[str, Callable[[str, np.ndarray | None], Grid]] = {
    "gguf": lambda kind, importance: GgmlGrid(kind=kind, importance=importance),
    "compressed-tensors": int4_groups,
}
"""Serving format -> (type of a tensor, importance of its columns or None) -> grid."""


def grid_of(serving_format: str, kind: str, importance: np.ndarray | None = None) -> Grid:
    """Raises InputError on a format or a type that can't be simulated."""
    if serving_format not in GRIDS:
        raise InputError("this format can't be trained for", value=serving_format, allowed=", ".join(GRIDS))
    if serving_format == "gguf":
        ggml.layout(kind)
    return GRIDS[serving_format](kind, importance)
