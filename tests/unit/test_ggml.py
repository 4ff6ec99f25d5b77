"""Types of ggml against gguf.quants, which is written in numpy by other hands."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.engines.ggml import ABORTS_WITHOUT_IMPORTANCE, KINDS, layout, library, quantized, restored, simulated
from quantplay.errors import InputError

IN_NUMPY = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
SLOW = {"IQ1_S", "IQ1_M", "IQ2_S"}  # ggml makes tables of seconds for them, once a process
QUICK = tuple(kind for kind in KINDS if kind not in SLOW)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_names_and_sizes_are_those_of_the_library(kind: str) -> None:
    number, block, size = layout(kind)
    traits = library().ggml_get_type_traits(number).contents
    assert traits.type_name.decode().upper() == kind
    assert (traits.blck_size, traits.type_size) == (block, size)


@pytest.mark.parametrize("kind", [*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in sorted(SLOW))])
def test_restored_weights_are_those_gguf_reads(kind: str) -> None:
    values = weights(6, 512)
    importance = np.linspace(0.5, 2, 512, dtype=np.float32)
    data = quantized(kind, values, importance)
    oracle = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind])
    np.testing.assert_array_equal(restored(kind, data, 512), oracle)
    np.testing.assert_array_equal(simulated(kind, values, importance), oracle)


@pytest.mark.parametrize("kind", IN_NUMPY)
def test_stored_bytes_are_those_numpy_makes(kind: str) -> None:
    values = weights(64, 256, seed=1)
    oracle = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
    np.testing.assert_array_equal(quantized(kind, values), oracle.view(np.uint8))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 3), st.sampled_from(QUICK), st.booleans())
def test_rows_are_quantized_each_for_itself(
    seed: int, rows: int, blocks: int, kind: str, with_importance: bool
) -> None:
    columns = 256 * blocks
    values = weights(rows, columns, seed=seed)
    needed = with_importance or kind in ABORTS_WITHOUT_IMPORTANCE
    importance = np.abs(weights(columns, seed=seed + 1)) + 0.01 if needed else None
    whole = quantized(kind, values, importance)
    assert whole.shape == (rows, columns // layout(kind)[1] * layout(kind)[2])
    one_by_one = [quantized(kind, values[row : row + 1], importance) for row in range(rows)]
    np.testing.assert_array_equal(whole, np.concatenate(one_by_one))


def test_every_expert_has_its_own_importance() -> None:
    values = weights(3, 4, 256)
    importance = np.abs(weights(3, 256, seed=2)) + 0.01
    data = quantized("IQ2_XS", values, importance)
    for expert in range(3):
        np.testing.assert_array_equal(data[expert], quantized("IQ2_XS", values[expert], importance[expert]))
    assert restored("IQ2_XS", data, 256).shape == values.shape


def test_importance_moves_the_error_to_columns_that_do_not_matter() -> None:
    values = weights(64, 256)
    importance = np.where(np.arange(256) % 2 == 0, 100, 0.01).astype(np.float32)
    plain, weighted = (simulated("Q2_K", values, matrix) - values for matrix in (None, importance))
    assert np.square(weighted[:, ::2]).sum() < 0.8 * np.square(plain[:, ::2]).sum()


@pytest.mark.parametrize(
    ("kind", "values", "importance", "said"),
    [
        ("Q9_X", weights(2, 256), None, "stores no weights in this type"),
        ("Q8_K", weights(2, 256), None, "stores no weights in this type"),
        ("Q4_K", weights(2, 128), None, "multiples of 256"),
        ("Q4_K", weights(256), None, "only matrices"),
        ("IQ2_XS", weights(2, 256), None, "needs an importance matrix"),
        ("Q4_K", np.full((2, 256), np.nan, np.float32), None, "NaN or infinite"),
        ("Q4_K", weights(2, 256), np.ones(255, np.float32), "does not fit"),
        ("Q4_K", weights(2, 256), np.full(256, np.inf, np.float32), "importance matrix can't be used"),
    ],
)
def test_what_would_abort_the_process_is_an_error(
    kind: str, values: np.ndarray, importance: np.ndarray | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        quantized(kind, values, importance)


def test_bytes_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="are no rows of 256 weights"):
        restored("Q4_0", np.zeros((2, 17), np.uint8), 256)
