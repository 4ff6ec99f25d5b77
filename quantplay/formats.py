"""Serving formats and their types as data: bits a weight, groups, runtimes, what they need. No logic, no imports.

To add a type: one line in `TYPES`. To add a format: one line in `FORMATS`, a module in quantizers/ and an extra.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Format:
    """A container a serving runtime loads."""

    runtimes: tuple[str, ...]
    extra: str | None  # pip extra to install; None is part of the base install
    suffix: str
    note: str


@dataclass(frozen=True, kw_only=True)
class ServingType:
    """How weights are stored in a format."""

    format: str
    bits_per_weight: float  # of the bulk tensors, scales included
    nominal_bits: int
    group_size: int  # weights that share a scale
    block_size: int  # a row must be a multiple of this
    ftype: int | None  # llama.cpp's number of the mix; None where it has none
    needs_importance_matrix: bool = False
    note: str = ""


FORMATS: dict[str, Format] = {
    "gguf": Format(
        runtimes=("llama.cpp",), extra=None, suffix=".gguf", note="llama.cpp's own container; CPU and Apple, also GPU"
    ),
}

# Bits are of the bulk type (GGML block sizes); a mix keeps some tensors higher, the artifact records what it measured.
# ftype: enum llama_ftype in llama.h.
TYPES: dict[str, ServingType] = {
    "F32": ServingType(format="gguf", bits_per_weight=32, nominal_bits=32, group_size=1, block_size=1, ftype=0),
    "F16": ServingType(format="gguf", bits_per_weight=16, nominal_bits=16, group_size=1, block_size=1, ftype=1),
    "BF16": ServingType(format="gguf", bits_per_weight=16, nominal_bits=16, group_size=1, block_size=1, ftype=32),
    "Q8_0": ServingType(format="gguf", bits_per_weight=8.5, nominal_bits=8, group_size=32, block_size=32, ftype=7),
    "Q6_K": ServingType(format="gguf", bits_per_weight=6.5625, nominal_bits=6, group_size=16, block_size=256, ftype=18),
    "Q5_K_M": ServingType(format="gguf", bits_per_weight=5.5, nominal_bits=5, group_size=32, block_size=256, ftype=17),
    "Q5_K_S": ServingType(format="gguf", bits_per_weight=5.5, nominal_bits=5, group_size=32, block_size=256, ftype=16),
    "Q5_1": ServingType(format="gguf", bits_per_weight=6.0, nominal_bits=5, group_size=32, block_size=32, ftype=9),
    "Q5_0": ServingType(format="gguf", bits_per_weight=5.5, nominal_bits=5, group_size=32, block_size=32, ftype=8),
    "Q4_K_M": ServingType(format="gguf", bits_per_weight=4.5, nominal_bits=4, group_size=32, block_size=256, ftype=15),
    "Q4_K_S": ServingType(format="gguf", bits_per_weight=4.5, nominal_bits=4, group_size=32, block_size=256, ftype=14),
    "IQ4_NL": ServingType(format="gguf", bits_per_weight=4.5, nominal_bits=4, group_size=32, block_size=32, ftype=25),
    "IQ4_XS": ServingType(format="gguf", bits_per_weight=4.25, nominal_bits=4, group_size=32, block_size=256, ftype=30),
    "Q4_1": ServingType(format="gguf", bits_per_weight=5.0, nominal_bits=4, group_size=32, block_size=32, ftype=3),
    "Q4_0": ServingType(format="gguf", bits_per_weight=4.5, nominal_bits=4, group_size=32, block_size=32, ftype=2),
    "Q3_K_L": ServingType(format="gguf", bits_per_weight=3.4375, nominal_bits=3, group_size=16, block_size=256, ftype=13),
    "Q3_K_M": ServingType(format="gguf", bits_per_weight=3.4375, nominal_bits=3, group_size=16, block_size=256, ftype=12),
    "Q3_K_S": ServingType(format="gguf", bits_per_weight=3.4375, nominal_bits=3, group_size=16, block_size=256, ftype=11),
    "IQ3_M": ServingType(format="gguf", bits_per_weight=3.4375, nominal_bits=3, group_size=32, block_size=256, ftype=27),
    "IQ3_S": ServingType(format="gguf", bits_per_weight=3.4375, nominal_bits=3, group_size=32, block_size=256, ftype=26),
    "IQ3_XXS": ServingType(
        format="gguf", bits_per_weight=3.0625, nominal_bits=3, group_size=32, block_size=256, ftype=23,
        needs_importance_matrix=True,
    ),
    "Q2_K": ServingType(format="gguf", bits_per_weight=2.625, nominal_bits=2, group_size=16, block_size=256, ftype=10),
    "Q2_K_S": ServingType(
        format="gguf", bits_per_weight=2.625, nominal_bits=2, group_size=16, block_size=256, ftype=21,
        needs_importance_matrix=True,
    ),
    "IQ2_M": ServingType(
        format="gguf", bits_per_weight=2.5625, nominal_bits=2, group_size=16, block_size=256, ftype=29,
        needs_importance_matrix=True,
    ),
    "IQ2_XS": ServingType(
        format="gguf", bits_per_weight=2.3125, nominal_bits=2, group_size=16, block_size=256, ftype=20,
        needs_importance_matrix=True,
    ),
    "IQ2_XXS": ServingType(
        format="gguf", bits_per_weight=2.0625, nominal_bits=2, group_size=32, block_size=256, ftype=19,
        needs_importance_matrix=True,
    ),
    "IQ1_M": ServingType(
        format="gguf", bits_per_weight=1.75, nominal_bits=1, group_size=16, block_size=256, ftype=31,
        needs_importance_matrix=True,
    ),
    "IQ1_S": ServingType(
        format="gguf", bits_per_weight=1.5625, nominal_bits=1, group_size=32, block_size=256, ftype=24,
        needs_importance_matrix=True,
    ),
    "TQ1_0": ServingType(
        format="gguf", bits_per_weight=1.6875, nominal_bits=1, group_size=256, block_size=256, ftype=36,
        note="ternary; for models trained for it",
    ),
}  # fmt: skip


def types_of(runtime: str) -> dict[str, ServingType]:
    """Every type some format of `runtime` can hold, most bits first."""
    return {name: kind for name, kind in TYPES.items() if runtime in FORMATS[kind.format].runtimes}
