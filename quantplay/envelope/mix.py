"""Which ggml type llama.cpp stores each tensor as: a mix such as Q4_K_M keeps some tensors above its bulk type.

Source: src/llama-quant.cpp of llama.cpp 0.5.0 (llama_tensor_get_type_impl, tensor_type_fallback, tensor_allows_quantization),
for decoder models, dense and with experts. A test compares every type with what the quantizer really writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Shape = tuple[int, ...]
"""Columns first, as GGUF counts: a row has shape[0] weights."""

BULK: dict[str, str] = {
    "F32": "F32", "F16": "F16", "BF16": "BF16", "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K_M": "Q5_K", "Q5_K_S": "Q5_K",
    "Q5_1": "Q5_1", "Q5_0": "Q5_0", "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "IQ4_NL": "IQ4_NL", "IQ4_XS": "IQ4_XS",
    "Q4_1": "Q4_1", "Q4_0": "Q4_0", "Q3_K_L": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_S": "Q3_K", "IQ3_M": "IQ3_S",
    "IQ3_S": "IQ3_S", "IQ3_XXS": "IQ3_XXS", "Q2_K": "Q2_K", "Q2_K_S": "Q2_K", "IQ2_M": "IQ2_S", "IQ2_XS": "IQ2_XS",
    "IQ2_XXS": "IQ2_XXS", "IQ1_M": "IQ1_M", "IQ1_S": "IQ1_S", "TQ1_0": "TQ1_0",
}  # fmt: skip
"""Our type -> the ggml type of most of its tensors."""

FULL_PRECISION = ("F32", "F16", "BF16")
FALLBACKS: dict[str, str] = {
    "IQ2_XS": "IQ4_NL", "IQ2_S": "IQ4_NL", "IQ3_XXS": "IQ4_NL", "IQ3_S": "IQ4_NL", "IQ4_XS": "IQ4_NL",
    "IQ1_S": "IQ4_NL", "IQ1_M": "IQ4_NL", "IQ2_XXS": "IQ4_NL", "TQ1_0": "Q4_0",
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip
"""Types with blocks of 256 -> the type with blocks of 32 that takes over where a row is no multiple of 256."""

NEVER_QUANTIZED = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj", "position_embd",
    "token_types", "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight",
    "time_mix_first.weight", "time_mix_w", "time_mix_v0", "time_mix_v1", "time_mix_v2", "time_mix_a", "time_mix_g1",
    "time_mix_g2", "time_mix_decay_w", "time_mix_lerp_fused.weight", "attn_rel_b.weight", "patch_embd", "rel_pos",
)  # fmt: skip
"""Parts of names that llama.cpp leaves alone on purpose: small, or fatal to quantize."""

LOWEST = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS")
LOW = (*LOWEST, "IQ2_M")
Q5_OUTPUT = (*LOW, "IQ3_XXS")
FIFTH_OUTPUT = (
    *LOW, "Q2_K", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_XS",
)  # fmt: skip
"""Mixes that give the attention's output Q5_K where there are eight experts."""


def is_meant_to_be_quantized(name: str, shape: Shape) -> bool:
    """Whether a quantized type should reach this tensor: a matrix of weights that llama.cpp does not spare."""
    is_matrix = any(size > 1 for size in shape[1:])
    return is_matrix and name.endswith("weight") and not any(part in name for part in NEVER_QUANTIZED)


def stored_types(
    tensors: Mapping[str, Shape], kind: str, *, layers: int, heads_per_group: int, importance: bool
) -> dict[str, str]:
    """Tensor name -> ggml type after quantizing full-precision tensors to the mix `kind`.

    layers: blocks of the model; heads_per_group: query heads that share a key-value head; importance: with a matrix.
    """
    bulk = BULK[kind]
    values = [name for name in in_loader_order(tensors) if is_value(name)]
    down = [name for name in in_loader_order(tensors) if "ffn_down" in name]
    tied, experts = "output.weight" not in tensors, expert_count(tensors)
    stored = {}
    for name, shape in tensors.items():
        if not is_meant_to_be_quantized(name, shape):
            stored[name] = "F32"
            continue
        if bulk in FULL_PRECISION:
            stored[name] = bulk
            continue
        if name == "output.weight" or (tied and name == "token_embd.weight"):
            wanted = output_type(kind, bulk, shape)
        elif name == "token_embd.weight":
            wanted = embedding_type(kind, bulk)
        elif is_value(name):
            # With four experts and more it is as small beside the rest as where many heads share it.
            shared = heads_per_group >= 4 or (experts >= 4 and kind in LOW)
            wanted = value_type(kind, bulk, values.index(name), len(values), shared, importance)
            wanted = "Q5_K" if layers == 80 and heads_per_group > 1 and wanted in ("Q3_K", "Q4_K") else wanted
        elif "ffn_down" in name:
            index = block_of(name) if experts > 1 and kind not in LOW else down.index(name)
            wanted = down_type(kind, bulk, index, layers, importance)
            raised = experts == 8 and kind == "IQ3_M" and use_more_bits(index, layers)
            wanted = "Q4_K" if raised else wanted
        else:
            wanted = other_type(kind, bulk, name)
        if experts == 8:
            wanted = eight_experts_type(kind, bulk, name) or wanted
        stored[name] = fitting_type(wanted, shape)
    return stored


def expert_count(tensors: Mapping[str, Shape]) -> int:
    """Experts a layer; 0 for a dense model."""
    return max((shape[2] for name, shape in tensors.items() if "_exps." in name and len(shape) > 2), default=0)


def block_of(name: str) -> int:
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else -1


def eight_experts_type(kind: str, bulk: str, name: str) -> str | None:
    """What llama.cpp gives the attention of models with eight experts, where it is small; None: as in other models."""
    if is_value(name):
        return None if kind in LOW else "Q8_0"
    if "attn_k.weight" in name:
        return "Q4_K" if kind in LOW else "Q8_0"
    if "attn_output.weight" in name:
        return "Q5_K" if kind in FIFTH_OUTPUT else bulk
    return None


def in_loader_order(tensors: Mapping[str, Shape]) -> list[str]:
    """llama.cpp counts tensors by block, then by name."""

    return sorted(tensors, key=lambda name: (block_of(name), name))


def is_value(name: str) -> bool:
    return any(part in name for part in ("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"))


def use_more_bits(index: int, count: int) -> bool:
    """The first and last eighth, and every third in between."""
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def output_type(kind: str, bulk: str, shape: Shape) -> str:
    if shape[0] % block_size(bulk):
        return "Q8_0"
    if kind in Q5_OUTPUT:
        return "Q5_K"
    return bulk if bulk == "Q8_0" else "Q6_K"


def embedding_type(kind: str, bulk: str) -> str:
    if kind in LOWEST:
        return "Q2_K"
    return {"IQ2_M": "IQ3_S", "IQ3_XXS": "IQ3_S", "TQ1_0": "Q4_K"}.get(kind, bulk)


def value_type(kind: str, bulk: str, index: int, count: int, shared: bool, importance: bool) -> str:
    """The value projection (or a fused projection that holds it): most sensitive, and small where many query heads share it."""
    if kind in LOWEST:
        return "Q4_K" if shared else "Q2_K"
    if kind == "IQ2_M":
        return "Q4_K" if shared else "IQ3_S"
    if kind == "Q2_K":
        return "Q4_K" if shared else "Q3_K"
    if kind == "IQ3_XXS":
        return "Q4_K" if shared else "IQ3_XXS" if importance else "IQ3_S"
    if kind == "Q3_K_M":
        return "Q5_K" if index < 2 else "Q4_K"
    if kind in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if use_more_bits(index, count) else bulk
    if kind == "Q4_K_S":
        return "Q5_K" if index < 4 else bulk
    if kind in ("Q2_K_S", "IQ3_S") and shared:
        return "Q4_K"
    if kind in ("IQ4_NL", "IQ4_XS") and shared:
        return "Q5_K"
    return {"IQ3_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(kind, bulk)


def down_type(kind: str, bulk: str, index: int, layers: int, importance: bool) -> str:
    """The second projection of the feed-forward part: its inputs have outliers."""
    first_eighth = index < layers // 8
    if kind == "Q2_K":
        return "Q3_K"
    if kind == "Q3_K_L":
        return "Q5_K"
    if kind == "Q3_K_M":
        return "Q5_K" if index < layers // 16 else "Q4_K"
    if kind in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if use_more_bits(index, layers) else bulk
    if kind == "IQ3_XXS" and not importance:
        return "Q4_K" if first_eighth else "Q3_K"
    if first_eighth and not (kind in ("IQ4_NL", "IQ4_XS") and importance):
        raised = {**dict.fromkeys(LOWEST, "Q2_K"), "Q2_K_S": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_S": "Q5_K", "IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K",
                  "IQ2_M": "IQ3_S", **({"Q4_0": "Q4_1", "Q5_0": "Q5_1"} if importance else {})}  # fmt: skip
        return raised.get(kind, bulk)
    return bulk


def other_type(kind: str, bulk: str, name: str) -> str:
    if "attn_output.weight" in name:
        raised = {
            "Q2_K": "Q3_K",
            "IQ3_XXS": "IQ3_S",
            "Q3_K_M": "Q4_K",
            "Q3_K_L": "Q5_K",
            "IQ3_M": "Q4_K",
            "IQ2_M": "IQ3_S",
            "IQ1_M": "IQ2_XXS",
            "IQ1_S": "IQ2_XXS",
        }
        return raised.get(kind, bulk)
    if kind == "IQ3_XXS" and ("attn_q.weight" in name or "attn_k.weight" in name):
        return "IQ2_S"
    return bulk


def fitting_type(wanted: str, shape: Shape) -> str:
    """`wanted`, or what llama.cpp falls back to where a row is no multiple of its block."""
    if shape[0] % block_size(wanted) == 0:
        return wanted
    smaller = FALLBACKS.get(wanted, wanted)
    return smaller if shape[0] % block_size(smaller) == 0 else "F16"


def block_size(ggml_type: str) -> int:
    """Weights a block of this ggml type holds."""
    import gguf

    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[ggml_type]][0]


def stored_bytes(ggml_type: str, shape: Shape) -> int:
    """Bytes of a tensor stored as `ggml_type`."""
    import gguf

    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[ggml_type]]
    weights = 1
    for dimension in shape:
        weights *= dimension
    return weights // block * size
