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
from quantplay.formats import TYPES
from quantplay.gate.ahead import TRAINED_GROUPS
from quantplay.quantizers.stored_layers import WIDE


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
class Floats:
    """Full precision in one of safetensors' widths, to nearest, ties to even."""

    width: str = "F32"  # F32 | F16 | BF16

    def codes(self, weights: np.ndarray) -> np.ndarray:
        import torch

        stored = torch.from_numpy(np.ascontiguousarray(weights, np.float32)).to(getattr(torch, WIDE[self.width]))
        return stored.view(torch.uint8).numpy()

    def values(self, codes: np.ndarray, columns: int) -> np.ndarray:
        import torch

        stored = torch.from_numpy(np.ascontiguousarray(codes)).view(getattr(torch, WIDE[self.width]))
        return stored.float().numpy().reshape(len(codes), columns)

    def least(self) -> np.float32:
        """What compressed-tensors stores as the scale of a group of zeros: the distance from 1 to the next number of this width."""
        import torch

        return np.float32(torch.finfo(getattr(torch, WIDE[self.width])).eps)


@dataclass(frozen=True, kw_only=True)
class SymmetricGroups:
    """Integers of `bits` with one scale a group, no zero point, as compressed-tensors packs them.

    In float32: s = amax / (2^bits - 1) * 2, rounded to the width scales are stored in; q = round(w / s), ties to even, from
    -2^(bits-1) to 2^(bits-1) - 1. `codes` holds a row's integers first, 2^(bits-1) added so that none is negative, the first column
    in the lowest bits; then its scales.
    """

    bits: int = 4  # or 8
    scales: Floats = Floats()
    group: int = 128

    def codes(self, weights: np.ndarray) -> np.ndarray:
        rows, columns = weights.shape
        if columns % self.group:
            raise InputError(
                "rows don't fit the groups", value=f"{columns} weights a row", allowed=f"multiples of {self.group}"
            )
        groups = np.ascontiguousarray(weights, np.float32).reshape(rows, columns // self.group, self.group)
        widest = np.float32((2**self.bits - 1) / 2)
        stored = self.scales.codes(np.abs(groups).max(axis=2) / widest)
        steps = self.scales.values(stored, groups.shape[1])
        if (steps == 0).any():
            steps = np.where(steps == 0, self.scales.least(), steps)
            stored = self.scales.codes(steps)
        lowest = -(2 ** (self.bits - 1))
        integers = np.rint(np.clip(groups / steps[:, :, None], lowest, -lowest - 1))
        packed = (integers - lowest).astype(np.uint8).reshape(rows, columns)
        if self.bits == 4:
            packed = packed[:, ::2] | (packed[:, 1::2] << 4)
        return np.concatenate([packed, stored.reshape(rows, -1)], axis=1)

    def values(self, codes: np.ndarray, columns: int) -> np.ndarray:
        integers, steps = self.integers(codes, columns), self.steps(codes, columns)
        return (integers.reshape(len(codes), -1, self.group) * steps[:, :, None]).reshape(len(codes), columns)

    def integers(self, codes: np.ndarray, columns: int) -> np.ndarray:
        """float32 (rows, columns) of whole numbers from -2^(bits-1) on."""
        packed = codes[:, : columns * self.bits // 8]
        if self.bits == 4:
            packed = np.stack([packed & 15, packed >> 4], axis=2).reshape(len(codes), columns)
        return packed.astype(np.float32) - 2 ** (self.bits - 1)

    def steps(self, codes: np.ndarray, columns: int) -> np.ndarray:
        """The scales: float32 (rows, groups)."""
        return self.scales.values(codes[:, columns * self.bits // 8 :], columns // self.group)


def folder_grid(kind: str, importance: np.ndarray | None, scales: str) -> Grid:
    """Of a tensor in a folder of compressed-tensors. Raises InputError on other ways to store one."""
    if importance is None and kind in WIDE:
        return Floats(width=kind)
    if importance is None and kind in GROUPED:
        return SymmetricGroups(bits=GROUPED[kind], scales=Floats(width=scales))
    raise InputError(
        "weights can't be trained for this type", value=kind, allowed=f"{', '.join(GROUPED)}, or a GGUF type"
    )


GROUPED = {kind: TYPES[kind].nominal_bits for kind in TRAINED_GROUPS}
"""Types of compressed-tensors that can be trained for -> bits."""

GRIDS: dict[str, Callable[[str, np.ndarray | None, str], Grid]] = {
    "gguf": lambda kind, importance, _: GgmlGrid(kind=kind, importance=importance),
    "compressed-tensors": folder_grid,
}
"""Serving format -> (type of a tensor, importance of its columns or None, width of its scales where they are floats) -> grid."""


def grid_of(serving_format: str, kind: str, importance: np.ndarray | None = None, scales: str = "F32") -> Grid:
    """Raises InputError on a format or a type that can't be simulated."""
    if serving_format not in GRIDS:
        raise InputError("this format can't be trained for", value=serving_format, allowed=", ".join(GRIDS))
    if serving_format == "gguf":
        ggml.layout(kind)
    return GRIDS[serving_format](kind, importance, scales)
