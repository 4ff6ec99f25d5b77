"""Grids: integers against an independent formula, rows each for itself, and what can't be simulated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.engines.ggml import quantized, restored
from quantplay.errors import InputError
from quantplay.qat.grids import Floats, SymmetricGroups, grid_of


def weights(rows: int, columns: int, seed: int, scale: float = 0.05) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (rows, columns)).astype(np.float32)


def by_the_book(row: np.ndarray, bits: int) -> tuple[list[int], list[float]]:
    """s = amax / 7.5 or / 127.5, q = clamp(round(w / s), -8, 7) or from -128 to 127, one weight at a time."""
    integers, scales, most = [], [], 2 ** (bits - 1) - 1
    for start in range(0, len(row), 128):
        group = row[start : start + 128]
        scale = np.float32(max(abs(float(one)) for one in group)) / np.float32(most + 0.5)
        scales.append(float(scale))
        integers += [min(most, max(-most - 1, round(float(one / scale)))) if scale else 0 for one in group]
    return integers, scales


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([1e-3, 0.05, 30.0]), st.sampled_from([4, 8]))
def test_groups_of_128_follow_the_formula(seed: int, groups: int, scale: float, bits: int) -> None:
    values = weights(3, 128 * groups, seed, scale)
    values[1] = 0
    grid = SymmetricGroups(bits=bits)
    codes = grid.codes(values)
    assert codes.shape == (3, 16 * bits * groups + 4 * groups)
    integers, scales = grid.integers(codes, values.shape[1]), grid.steps(codes, values.shape[1])
    for row, (found, steps) in zip(values, zip(integers, scales, strict=True), strict=True):
        wanted, wanted_scales = by_the_book(row, bits)
        assert found.tolist() == wanted
        if row.any():
            assert steps.tolist() == pytest.approx(wanted_scales, rel=1e-7)
    np.testing.assert_array_equal(
        grid.values(codes, values.shape[1]), integers * np.repeat(scales, 128, axis=1).astype(np.float32)
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["Q4_0", "Q8_0", "Q4_K", "Q2_K", "TQ1_0"]))
def test_a_grid_of_ggml_is_ggml(seed: int, kind: str) -> None:
    values = weights(4, 256, seed)
    grid = grid_of("gguf", kind)
    codes = grid.codes(values)
    np.testing.assert_array_equal(codes, quantized(kind, values))
    np.testing.assert_array_equal(grid.values(codes, 256), restored(kind, codes, 256))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["BF16", "F16"]), st.sampled_from([4, 8]))
def test_scales_are_rounded_before_they_divide(seed: int, width: str, bits: int) -> None:
    """Every weight lies within half a step, as it is stored, of its own value, but at the upper end of the range."""
    values = weights(2, 256, seed)
    grid = SymmetricGroups(bits=bits, scales=Floats(width=width))
    codes = grid.codes(values)
    assert codes.shape == (2, 32 * bits + 4)
    steps = np.repeat(grid.steps(codes, 256), 128, axis=1)
    off = np.abs(grid.values(codes, 256) - values) / steps
    inside = np.abs(values) < (2 ** (bits - 1) - 1) * steps
    assert off[inside].max() <= 0.5 + 1e-5
    assert off.max() <= 1


@pytest.mark.parametrize("width", ["F32", "BF16", "F16"])
def test_full_precision_is_stored_as_ggml_stores_it(width: str) -> None:
    values = weights(4, 256, 1)
    stored = Floats(width=width).codes(values)
    np.testing.assert_array_equal(stored, quantized(width, values))
    np.testing.assert_array_equal(Floats(width=width).values(stored, 256), restored(width, stored, 256))


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "W4A16", "W8A16"])
def test_what_is_rounded_stays_when_its_groups_reach_their_ends(kind: str) -> None:
    """Rounding twice changes nothing where the largest weight of a group is itself on the grid."""
    grid = grid_of("compressed-tensors" if "A" in kind else "gguf", kind)
    once = grid.values(grid.codes(weights(8, 256, 5)), 256)
    twice = grid.values(grid.codes(once), 256)
    assert np.abs(twice - once).max() <= np.abs(once).max() / 7


def test_importance_moves_the_grid() -> None:
    values = weights(4, 256, 2)
    importance = np.linspace(0.01, 10, 256, dtype=np.float32)
    assert not np.array_equal(grid_of("gguf", "Q2_K", importance).codes(values), grid_of("gguf", "Q2_K").codes(values))


@pytest.mark.parametrize(
    ("serving_format", "kind", "said"),
    [
        ("exl3", "Q4_K", "can't be trained for"),
        ("gguf", "Q9_K", "stores no weights in this type"),
        ("gguf", "Q8_K", "stores no weights in this type"),
        ("compressed-tensors", "Q4_K", "can't be trained for this type"),
        ("compressed-tensors", "W4A16_AWQ", "can't be trained for this type"),
        ("compressed-tensors", "W8A8", "can't be trained for this type"),
        ("bitsandbytes", "BNB_INT8", "can't be trained for"),
        ("gptq", "GPTQ_INT4", "can't be trained for"),
    ],
)
def test_unknown_grids_are_refused(serving_format: str, kind: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        grid_of(serving_format, kind)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 128"):
        SymmetricGroups().codes(weights(2, 192, 0))
