"""Folders as AWQ's and GPTQ's own programs write them, of one small block, and the full-precision model that they come from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

PILOT = Path(__file__).parents[2] / "examples" / "pilot" / "model"
HIDDEN, NARROW, WIDE, GROUP = 256, 128, 512, 128
LINEAR = {
    "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (NARROW, HIDDEN), "self_attn.v_proj": (NARROW, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (WIDE, HIDDEN), "mlp.up_proj": (WIDE, HIDDEN), "mlp.down_proj": (HIDDEN, WIDE),
}  # fmt: skip
"""Of a block: (outputs, inputs)."""
AWQ = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": True}
Tensors = dict[str, np.ndarray]


def words(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.int32)


def scales(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float16)


def awq_layer(outputs: int, inputs: int) -> Tensors:
    """autoawq, modules/linear/gemm.py."""
    return {
        "qweight": words(inputs, outputs // 8), "qzeros": words(inputs // GROUP, outputs // 8), "scales": scales(inputs // GROUP, outputs),
    }  # fmt: skip


def gptq_layer(outputs: int, inputs: int) -> Tensors:
    """gptqmodel and auto-gptq, QuantLinear."""
    return {
        "qweight": words(inputs // 8, outputs), "qzeros": words(inputs // GROUP, outputs // 8), "scales": scales(inputs // GROUP, outputs),
        "g_idx": np.arange(inputs, dtype=np.int32) // GROUP,
    }  # fmt: skip


def saved(folder: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        shutil.copy(PILOT / name, folder / name)
    own = json.loads((PILOT / "config.json").read_text()) | {
        "num_hidden_layers": 1, "hidden_size": HIDDEN, "intermediate_size": WIDE, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 64,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(own | config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def rest() -> Tensors:
    vocabulary = json.loads((PILOT / "config.json").read_text())["vocab_size"]
    names = ("model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm")
    return {
        "model.embed_tokens.weight": scales(vocabulary, HIDDEN),
        **{f"{name}.weight": scales(HIDDEN) for name in names},
    }


def quantized(layer: Callable[[int, int], Tensors]) -> Tensors:
    return rest() | {
        f"model.layers.0.{name}.{part}": tensor
        for name, shape in LINEAR.items()
        for part, tensor in layer(*shape).items()
    }


def full_precision(folder: Path) -> Path:
    full = {f"model.layers.0.{name}.weight": scales(*shape) for name, shape in LINEAR.items()}
    return saved(folder, {}, rest() | full)
