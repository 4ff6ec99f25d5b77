"""Models made for a benchmark: one with random weights and outliers, and a model made worse by noise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

PILOT = Path(__file__).parents[1] / "examples" / "pilot"
TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
OUTLIERS = (3, 77, 200, 411)  # columns of the hidden state
OUTLIER_GAIN = 25.0
SHAPE: dict[str, Any] = {
    "hidden_size": 512, "intermediate_size": 768, "num_hidden_layers": 3, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 96, "tie_word_embeddings": False, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "dtype": "bfloat16",
}  # fmt: skip
"""Unlike the pilot in every respect: grouped queries four to one, heads wider together than the hidden state, an output
matrix of its own, bfloat16."""


def save_random_model(folder: Path, seed: int = 5, layers: int = 3) -> Path:
    """A Llama of `SHAPE` with the pilot's tokenizer; four columns of its hidden state are far larger than the others."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    for name in TOKENIZER:
        shutil.copy(PILOT / "model" / name, folder / name)
    config = (
        json.loads((PILOT / "model" / "config.json").read_text(encoding="utf-8"))
        | SHAPE
        | {"num_hidden_layers": layers}
    )
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes(config).items():
        values = torch.randn(shape, generator=generator) * (1 if len(shape) == 1 else shape[1] ** -0.5)
        if name.endswith("norm.weight"):
            values = 1 + 0.2 * values
        if name.endswith(("embed_tokens.weight", "input_layernorm.weight", "post_attention_layernorm.weight")):
            values[..., list(OUTLIERS)] *= OUTLIER_GAIN
        tensors[name] = values.to(torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of an untied Llama, by its name in transformers."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (vocabulary, hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}."
        found |= {
            f"{block}self_attn.q_proj.weight": (queries, hidden),
            f"{block}self_attn.k_proj.weight": (keys, hidden),
            f"{block}self_attn.v_proj.weight": (keys, hidden),
            f"{block}self_attn.o_proj.weight": (hidden, queries),
            f"{block}mlp.gate_proj.weight": (inner, hidden),
            f"{block}mlp.up_proj.weight": (inner, hidden),
            f"{block}mlp.down_proj.weight": (hidden, inner),
            f"{block}input_layernorm.weight": (hidden,),
            f"{block}post_attention_layernorm.weight": (hidden,),
        }
    return found


def save_handicapped(folder: Path, source: Path, *, noise: float, seed: int = 1) -> Path:
    """`source` with Gaussian noise on every matrix of its blocks, `noise` times the matrix' own standard deviation."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, folder)
    tensors = load_file(source / "model.safetensors")
    generator = torch.Generator().manual_seed(seed)
    for name, values in sorted(tensors.items()):
        if values.dim() == 2 and ".layers." in name:
            tensors[name] = values + noise * values.std() * torch.randn(values.shape, generator=generator)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
