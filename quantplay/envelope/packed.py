"""Bytes of a model in the formats that GPU servers load: packed weights, and what those formats leave alone or add.

All of them quantize the linear layers of the blocks and leave embeddings, the output matrix, norms, biases and routers at the precision they have.
Layouts: compressed-tensors (compressors/*/pack_quantized.py: `weight_packed` int32, `weight_scale`, `weight_zero_point` packed along
the rows, `weight_shape` 2 x int64), GPTQ as gptqmodel writes it (`qweight`, `qzeros`, `scales`, `g_idx` int32 a column),
bitsandbytes LLM.int8() (`weight` int8, `SCB` float32 a row, `weight_format` one byte).
"""

from __future__ import annotations

from math import prod

from quantplay.envelope.mix import Shape
from quantplay.envelope.shape import ModelShape
from quantplay.formats import TYPES, ServingType

GPTQ_SCALE_BYTES = 2  # float16 whatever the source
WORD_BITS = 32  # of the integers that hold packed values
ASYMMETRIC = ("W4A16_AWQ", "GPTQ_INT4")
"""Types that keep a 4-bit zero a group as well; GPTQ's container does even where every zero is the same."""


def is_packed(name: str, shape: Shape) -> bool:
    """Whether these formats quantize a tensor: a linear layer inside a block that is no router."""
    return name.startswith("blk.") and len(shape) > 1 and name.endswith(".weight") and "ffn_gate_inp" not in name


def packed_bytes(shape: ModelShape, kind: str, *, full_bytes: int = 2) -> int:
    """Bytes of all tensors of `shape` stored as `kind`; full_bytes: of a weight that stays at full precision, and of a scale."""
    serving = TYPES[kind]
    return sum(
        linear_bytes(one, kind, serving, full_bytes) if is_packed(name, one) else full_bytes * prod(one)
        for name, one in shape.tensors.items()
    )


def linear_bytes(shape: Shape, kind: str, serving: ServingType, full_bytes: int = 2) -> int:
    """One linear layer, or those of all experts of a layer. Scales have the source's precision, but for GPTQ's."""
    scale = GPTQ_SCALE_BYTES if serving.format == "gptq" else full_bytes
    columns, rows, count = shape[0], shape[1], prod(shape[2:])
    if not serving.group_size:
        beside = 4 * rows + 1 if serving.format == "bitsandbytes" else scale * rows
        return count * (columns * rows + beside)
    groups = up(columns, serving.group_size)
    per_word = WORD_BITS // serving.nominal_bits
    size = 4 * up(columns, per_word) * rows + scale * groups * rows
    if kind in ASYMMETRIC:
        size += 4 * up(rows, per_word) * groups
    return count * (size + (4 * columns if serving.format == "gptq" else 16))


def unaligned(shape: ModelShape, kind: str) -> tuple[str, ...]:
    """Names of layers whose rows are no multiple of the type's groups: most kernels refuse them."""
    group = TYPES[kind].group_size
    return tuple(name for name, one in shape.tensors.items() if group and is_packed(name, one) and one[0] % group)


def up(value: int, step: int) -> int:
    return -(-value // step)
