"""What a model takes, told from its config.json: against models that transformers builds and files that llama.cpp would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantplay.envelope.architecture import FAMILIES
from quantplay.envelope.mix import stored_types
from quantplay.envelope.packed import is_packed
from quantplay.envelope.shape import read_shape
from quantplay.formats import TYPES

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "vocab_size": 160, "max_position_embeddings": 256, "sliding_window": 32,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    "num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 80,
}  # fmt: skip
GGUF = {name: kind for name, kind in TYPES.items() if kind.format == "gguf"}


def saved(folder: Path, model_type: str, **config: Any) -> Path:
    """A model of this family with random weights, as transformers saves it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    made = AutoConfig.for_model(model_type, **{**SIZES, **(EXPERTS if FAMILIES[model_type].experts else {}), **config})
    with torch.random.fork_rng():
        AutoModelForCausalLM.from_config(made).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", [name for name in FAMILIES if name != "gemma3"])
def test_a_config_tells_every_tensor(model_type: str, tied: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", model_type, tie_word_embeddings=tied)
    with_weights = read_shape(folder)
    (folder / "model.safetensors").unlink()
    alone = read_shape(folder, need_weights=False)
    assert alone.tensors == with_weights.tensors
    assert (alone.weights, alone.experts, alone.experts_used) == (
        with_weights.weights, with_weights.experts, with_weights.experts_used
    )  # fmt: skip
    assert (alone.experts > 0) == FAMILIES[model_type].experts


@pytest.mark.parametrize(
    ("model_type", "layers"), [("gemma2", 3), ("gemma3_text", 5), ("llama", 0), ("qwen2", 0), ("mistral", 6)]
)
def test_windows_are_those_of_transformers(model_type: str, layers: int, tmp_path: Path) -> None:
    shape = read_shape(saved(tmp_path / "m", model_type))
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    kinds = config.get("layer_types", [])
    assert shape.window_layers == layers
    assert not kinds or kinds.count("sliding_attention") == layers


def test_a_model_that_also_sees_counts_its_text_part_only(tmp_path: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = AutoConfig.for_model(
        "gemma3", text_config={**SIZES, "model_type": "gemma3_text"}, vision_config=vision, mm_tokens_per_image=4
    )
    with torch.random.fork_rng():
        AutoModelForImageTextToText.from_config(config).save_pretrained(tmp_path / "m")
    seen = read_shape(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    assert read_shape(tmp_path / "m", need_weights=False).tensors == seen.tensors


@pytest.mark.parametrize(("experts", "heads", "key_value_heads"), [(8, 8, 2), (8, 4, 4), (4, 4, 4), (2, 4, 2)])
def test_the_mix_of_experts_is_llama_cpps_own(experts: int, heads: int, key_value_heads: int, tmp_path: Path) -> None:
    """Against the quantizer's own dry run, for every type."""
    from test_quantize import dry_run

    source, shape = write_experts_gguf(
        tmp_path / "m.gguf", experts=experts, heads=heads, key_value_heads=key_value_heads
    )
    importance = {
        name: np.ones(one[0] * (one[2] if len(one) > 2 else 1), np.float32)
        for name, one in shape.items() if name.startswith("blk.") and len(one) > 1
    }  # fmt: skip
    for kind in GGUF:
        for given in (False, True):
            expected = stored_types(shape, kind, layers=17, heads_per_group=heads // key_value_heads, importance=given)
            assert dry_run(source, kind, importance if given else None) == expected, (kind, given)


def write_experts_gguf(
    path: Path, *, experts: int, heads: int, key_value_heads: int, layers: int = 17, hidden: int = 256, inner: int = 256
) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """A mixture of experts whose weights are all zero; 17 layers, so that no eighth is a whole number."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_value_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_expert_count(experts)
    writer.add_expert_used_count(min(2, experts))
    writer.add_vocab_size(512)
    head = hidden // heads
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (hidden, 512), "output_norm.weight": (hidden,), "output.weight": (hidden, 512),
    }  # fmt: skip
    for layer in range(layers):
        block = f"blk.{layer}."
        shapes |= {f"{block}attn_norm.weight": (hidden,), f"{block}ffn_norm.weight": (hidden,)}
        shapes |= {f"{block}attn_q.weight": (hidden, hidden), f"{block}attn_output.weight": (hidden, hidden)}
        shapes |= {f"{block}attn_{part}.weight": (hidden, key_value_heads * head) for part in "kv"}
        shapes[f"{block}ffn_gate_inp.weight"] = (hidden, experts)
        shapes |= {f"{block}ffn_{part}_exps.weight": (hidden, inner, experts) for part in ("gate", "up")}
        shapes[f"{block}ffn_down_exps.weight"] = (inner, hidden, experts)
    for name, one in shapes.items():
        writer.add_tensor(name, np.zeros(tuple(reversed(one)), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, shapes


def test_routers_norms_and_embeddings_are_never_packed(tmp_path: Path) -> None:
    shape = read_shape(saved(tmp_path / "m", "qwen2_moe"))
    left = {name for name, one in shape.tensors.items() if not is_packed(name, one)}
    assert all(
        "norm" in name or "bias" in name or "ffn_gate_inp" in name or not name.startswith("blk.") for name in left
    )
    linear = {name.split(".", 2)[2] for name in shape.tensors.keys() - left}
    assert {"attn_q.weight", "ffn_down_exps.weight", "ffn_up_shexp.weight"} <= linear
