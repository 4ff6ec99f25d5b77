"""The table of types in formats.py against llama.cpp's own constants and block layouts."""

from __future__ import annotations

import gguf
import llama_cpp
import pytest

from quantplay.envelope.mix import BULK, FALLBACKS, block_size, fitting_type, is_meant_to_be_quantized, stored_bytes
from quantplay.formats import FORMATS, TYPES, types_of

# Scales a block of 256 holds: ggml-common.h, block_q6_K and its neighbours.
SCALES_OF_256 = {
    "Q6_K": 16, "Q5_K": 8, "Q4_K": 8, "Q3_K": 16, "Q2_K": 16, "IQ4_XS": 8, "IQ3_S": 8, "IQ3_XXS": 8, "IQ2_S": 16, "IQ2_XS": 16,
    "IQ2_XXS": 8, "IQ1_M": 16, "IQ1_S": 8, "TQ1_0": 1,
}  # fmt: skip


GGUF_TYPES = types_of("llama.cpp")


@pytest.mark.parametrize("name", GGUF_TYPES)
def test_a_type_is_what_ggml_says(name: str) -> None:
    kind = TYPES[name]
    bulk = gguf.GGMLQuantizationType[BULK[name]]
    block, size = gguf.GGML_QUANT_SIZES[bulk]
    assert kind.bits_per_weight == 8 * size / block
    assert kind.block_size == block
    assert kind.group_size == (256 // SCALES_OF_256[bulk.name] if block == 256 else block)
    assert kind.nominal_bits == int(kind.bits_per_weight) or name in ("Q5_1", "Q4_1")
    constant = "LLAMA_FTYPE_ALL_F32" if name == "F32" else f"LLAMA_FTYPE_MOSTLY_{name}"
    assert kind.ftype == getattr(llama_cpp, constant)


def test_a_type_that_needs_an_importance_matrix_is_marked() -> None:
    """tensor_requires_imatrix of src/llama-quant.cpp: these ggml types, and Q2_K in a Q2_K_S file."""
    needing = {"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"}
    for name, kind in GGUF_TYPES.items():
        assert kind.needs_importance_matrix == (BULK[name] in needing or name == "Q2_K_S"), name


def test_every_type_belongs_to_a_format_with_a_runtime() -> None:
    assert {kind.format for kind in TYPES.values()} <= FORMATS.keys()
    assert {name for name, kind in TYPES.items() if kind.format == "gguf"} == GGUF_TYPES.keys()
    assert types_of("transformers").keys() == TYPES.keys() - GGUF_TYPES.keys()
    assert types_of("a runtime of tomorrow") == {}


@pytest.mark.parametrize("name", types_of("transformers"))
def test_bits_of_a_folder_count_scales_and_zeros(name: str) -> None:
    kind = TYPES[name]
    zeros = {"W4A16_AWQ": 4, "GPTQ_INT4": 4}.get(name, 0)
    a_group = (16 + zeros) / kind.group_size if kind.group_size else 0  # a scale a row is counted by row
    assert kind.bits_per_weight == kind.nominal_bits + a_group
    assert kind.ftype is None


def test_fallbacks_lead_from_large_blocks_to_small_ones() -> None:
    assert {BULK[name] for name, kind in GGUF_TYPES.items() if kind.block_size == 256} <= FALLBACKS.keys()
    for large, small in FALLBACKS.items():
        assert (block_size(large), block_size(small)) == (256, 32)
        assert fitting_type(large, (512, 3)) == large
        assert fitting_type(large, (96, 3)) == small
        assert fitting_type(large, (40, 3)) == "F16"


def test_bytes_of_a_tensor() -> None:
    assert stored_bytes("Q4_K", (256, 10)) == 10 * 144
    assert stored_bytes("F16", (3, 5, 7)) == 2 * 3 * 5 * 7


@pytest.mark.parametrize(
    ("name", "shape", "meant"),
    [
        ("blk.0.attn_q.weight", (256, 256), True),
        ("output.weight", (256, 1000), True),
        ("blk.0.ffn_down_exps.weight", (256, 256, 8), True),
        ("blk.0.attn_q.bias", (256,), False),
        ("blk.0.attn_norm.weight", (256,), False),
        ("blk.0.attn_q_norm.weight", (64, 4), False),
        ("blk.0.ffn_gate_inp.weight", (256, 8), False),
        ("rope_freqs.weight", (32, 1), False),
    ],
)
def test_what_is_meant_to_be_quantized(name: str, shape: tuple[int, ...], meant: bool) -> None:
    assert is_meant_to_be_quantized(name, shape) == meant
