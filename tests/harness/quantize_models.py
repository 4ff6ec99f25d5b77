"""Small models with random weights, written without torch, and jobs for tests of what needs a child process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from quantplay.digest import digest_of
from quantplay.formats import TYPES
from quantplay.quantizers.gguf import read_tensors
from quantplay.quantizers.recipe import HIGHER_PRECISION, library_versions
from quantplay.records import Recipe

PILOT = Path(__file__).parents[2] / "examples" / "pilot" / "model"


NOTHING = digest_of([])


def recipe(kind: str, *, importance: bool = False, tensor_types: dict[str, str] | None = None) -> Recipe:
    serving = TYPES[kind]
    return Recipe(
        format="gguf", type=kind, method="llama.cpp-quantize", bits_per_weight=serving.bits_per_weight, bits_activations=16,
        group_size=serving.group_size, importance_matrix=importance, tensor_types=tensor_types or {},
        higher_precision=HIGHER_PRECISION, model=NOTHING, calibration=NOTHING, calibration_samples=4, calibration_tokens=128,
        seed=0, threads=1, versions=library_versions(), converter=NOTHING,
    )  # fmt: skip


def even_importance(reference: Path) -> dict[str, np.ndarray]:
    return {
        name: np.linspace(0.5, 2, tensor.shape[0], dtype=np.float32)
        for name, tensor in read_tensors(reference).items()
        if name.startswith("blk.") and len(tensor.shape) > 1
    }


def number_of(kind: str) -> int:
    ftype = TYPES[kind].ftype
    assert ftype is not None
    return ftype


def save_random_llama(
    folder: Path, *, hidden: int = 256, intermediate: int = 256, layers: int = 1, damage: str | None = None
) -> Path:
    """A Llama with the pilot's tokenizer. `damage` names a tensor that gets one NaN."""
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        shutil.copy(PILOT / name, folder / name)
    config = json.loads((PILOT / "config.json").read_text())
    config |= {"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": hidden // 4}
    (folder / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(7)
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        block = f"model.layers.{layer}."
        shapes |= {
            f"{block}self_attn.q_proj.weight": (hidden, hidden),
            f"{block}self_attn.k_proj.weight": (hidden // 2, hidden),
            f"{block}self_attn.v_proj.weight": (hidden // 2, hidden),
            f"{block}self_attn.o_proj.weight": (hidden, hidden),
            f"{block}mlp.gate_proj.weight": (intermediate, hidden),
            f"{block}mlp.up_proj.weight": (intermediate, hidden),
            f"{block}mlp.down_proj.weight": (hidden, intermediate),
            f"{block}input_layernorm.weight": (hidden,),
            f"{block}post_attention_layernorm.weight": (hidden,),
        }
    tensors = {name: random.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        if name.endswith("norm.weight"):
            tensor += 1
    if damage is not None:
        tensors[damage].reshape(-1)[3] = np.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_random_gguf(
    path: Path,
    *,
    layers: int,
    heads: int,
    key_value_heads: int,
    hidden: int = 256,
    intermediate: int = 256,
    tied: bool = True,
) -> Path:
    """A full-precision GGUF the quantizer accepts. It has no tokenizer, so it can't be served."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(64)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(intermediate)
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_value_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(64)
    random = np.random.default_rng(3)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.standard_normal(shape).astype(np.float32))

    narrow = hidden * key_value_heads // heads
    add("token_embd.weight", 64, hidden)
    add("output_norm.weight", hidden)
    if not tied:
        add("output.weight", 64, hidden)
    for layer in range(layers):
        block = f"blk.{layer}."
        add(f"{block}attn_q.weight", hidden, hidden)
        add(f"{block}attn_k.weight", narrow, hidden)
        add(f"{block}attn_v.weight", narrow, hidden)
        add(f"{block}attn_output.weight", hidden, hidden)
        add(f"{block}ffn_gate.weight", intermediate, hidden)
        add(f"{block}ffn_up.weight", intermediate, hidden)
        add(f"{block}ffn_down.weight", hidden, intermediate)
        add(f"{block}attn_norm.weight", hidden)
        add(f"{block}ffn_norm.weight", hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quantize_on_a_full_disk(payload: dict[str, Any], report: Callable[[int, int, str], None]) -> None:
    """Job: quantize with a limit on the size of files, which fails a write as a full disk does."""
    import resource
    import signal

    from quantplay.engines.llama_quantize import quantize_file
    from quantplay.engines.whole_file import written_whole

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (payload["limit"], payload["limit"]))
    with written_whole(Path(payload["out"])) as partial:
        quantize_file(Path(payload["source"]), partial, ftype=7, threads=1, on_progress=report)
