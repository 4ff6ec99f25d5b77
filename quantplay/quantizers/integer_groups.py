"""Integers with one scale a group of weights: what compressed-tensors stores as W4A16 and W8A16 when it rounds to nearest."""

from __future__ import annotations

import numpy as np


def rounded(weights: np.ndarray, *, bits: int, group: int) -> np.ndarray:
    """What float32 `weights` (..., columns) are after a way through the grid and back.

    s = amax / (2^(bits - 1) - 1/2) a group, q = clamp(round(w / s), -2^(bits - 1), 2^(bits - 1) - 1), ties to even: calculate_qparams of
    compressed-tensors 0.19, with scales at float32. Columns are a multiple of `group`.
    """
    cut = np.ascontiguousarray(weights, np.float32).reshape(-1, group)
    low, steps = -(2 ** (bits - 1)), 2 ** (bits - 1) - 0.5
    scales = np.abs(cut).max(axis=1, keepdims=True) / np.float32(steps)
    integers = np.clip(np.rint(cut / np.where(scales == 0, np.float32(1), scales)), low, -low - 1)
    return (integers * scales).reshape(weights.shape)
