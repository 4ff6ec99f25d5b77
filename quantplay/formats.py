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
    suffix: str  # of the file; empty where the format is a folder
    note: str


@dataclass(frozen=True, kw_only=True)
class ServingType:
    """How weights are stored in a format."""

    format: str
    bits_per_weight: float  # of the bulk tensors, scales included
    nominal_bits: int
    group_size: int  # weights that share a scale; 0 is a whole row
    block_size: int  # a row must be a multiple of this
    ftype: int | None  # llama.cpp's number of the mix; None where it has none
    needs_importance_matrix: bool = False
    note: str = ""


FORMATS: dict[str, Format] = {
    "gguf": Format(
        runtimes=("llama.cpp", "llama.cpp-server"), extra=None, suffix=".gguf",
        note="llama.cpp's own container; CPU and Apple, also GPU",
    ),
    "compressed-tensors": Format(
        runtimes=("vllm", "transformers"), extra="compressed-tensors", suffix="",
        note="llm-compressor's folder of safetensors, what vLLM serves",
    ),
    "gptq": Format(
        runtimes=("vllm", "transformers"), extra="gptq", suffix="", note="the older GPTQ layout, for servers that ask for it"
    ),
    "bitsandbytes": Format(
        runtimes=("vllm", "transformers"), extra="bitsandbytes", suffix="", note="8 bits without calibration, for general use"
    ),
}  # fmt: skip

SERVERS: dict[str, str] = {"llama.cpp-server": "llama.cpp", "vllm": "transformers"}
"""Runtime that is asked over HTTP -> the one that loads the same files in process, for what a server does not tell."""

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
    # Scales are 16 bits wide, as vLLM keeps them; rows that have one scale each add 16 bits a row. Embedding, output matrix and
    # norms stay at full precision in all of these.
    "W8A8": ServingType(
        format="compressed-tensors", bits_per_weight=8, nominal_bits=8, group_size=0, block_size=1, ftype=None,
        note="SmoothQuant and GPTQ; activations in 8 bits as well, a scale a row and a token",
    ),
    "W8A16": ServingType(
        format="compressed-tensors", bits_per_weight=8.125, nominal_bits=8, group_size=128, block_size=128, ftype=None,
        note="GPTQ, symmetric: a 16-bit scale a group; activations as they are",
    ),
    "FP8_DYNAMIC": ServingType(
        format="compressed-tensors", bits_per_weight=8, nominal_bits=8, group_size=0, block_size=1, ftype=None,
        note="weights and activations as 8-bit floats, a scale a row and a token; no calibration",
    ),
    "BNB_INT8": ServingType(
        format="bitsandbytes", bits_per_weight=8, nominal_bits=8, group_size=0, block_size=1, ftype=None,
        note="LLM.int8(): outlier columns of the activations are multiplied at full precision; a scale a row",
    ),
    "W4A16_AWQ": ServingType(
        format="compressed-tensors", bits_per_weight=4.15625, nominal_bits=4, group_size=128, block_size=128, ftype=None,
        note="AWQ, asymmetric: a 16-bit scale and a 4-bit zero a group",
    ),
    "GPTQ_INT4": ServingType(
        format="gptq", bits_per_weight=4.15625, nominal_bits=4, group_size=128, block_size=128, ftype=None,
        note="GPTQ: a 16-bit scale and a 4-bit zero a group, and 32 bits a column for its group's number",
    ),
    "W4A16": ServingType(
        format="compressed-tensors", bits_per_weight=4.125, nominal_bits=4, group_size=128, block_size=128, ftype=None,
        note="GPTQ, symmetric: a 16-bit scale a group",
    ),
}  # fmt: skip


def loads_gguf(runtime: str) -> bool:
    return runtime in FORMATS["gguf"].runtimes


def types_of(runtime: str) -> dict[str, ServingType]:
    """Every type some format of `runtime` can hold, most bits first."""
    return {name: kind for name, kind in TYPES.items() if runtime in FORMATS[kind.format].runtimes}
