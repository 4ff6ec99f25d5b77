"""A Llama of realistic shapes with random weights, written tensor by tensor so that it never lies in memory as a whole."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import PILOT, TOKENIZER, shapes
from quantplay.engines.whole_file import require_space

BILLION: dict[str, Any] = {
    "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 32000, "tie_word_embeddings": True, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "dtype": "bfloat16",
}  # fmt: skip
"""The shapes of Llama 3.2 1B but for the vocabulary: the pilot's tokenizer, filled up. 1.04 billion parameters."""

SHARD_BYTES = 1 << 30


HALF_BILLION = BILLION | {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 20, "num_attention_heads": 20, "num_key_value_heads": 5,
}  # fmt: skip
"""0.52 billion parameters."""


def save_large_model(folder: Path, *, layers: int, seed: int = 7, shape: dict[str, Any] = BILLION) -> int:
    """Write a model of this `shape` with so many layers, bfloat16, in shards; returns its number of parameters.

    Raises OutOfSpace where the disk can't hold it with its float32 GGUF and two quantized files.
    """
    config = json.loads((PILOT / "model" / "config.json").read_text(encoding="utf-8"))
    config |= shape | {"num_hidden_layers": layers}
    tensors = shapes(config)
    if config["tie_word_embeddings"]:
        del tensors["lm_head.weight"]
    parameters = sum(math.prod(shape) for shape in tensors.values())
    require_space(folder, 8 * parameters)  # 2 bytes a weight, 4 in the GGUF, and below one in each quantized file
    folder.mkdir(parents=True)
    for name in TOKENIZER:
        shutil.copy(PILOT / "model" / name, folder / name)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shards = shards_of(tensors)
    places = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        write_shard(folder / file, {name: tensors[name] for name in names}, [seed, number])
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 2 * parameters}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return parameters


def shards_of(tensors: dict[str, tuple[int, ...]]) -> list[list[str]]:
    """Names of the tensors of each file, in order, each file up to about `SHARD_BYTES`."""
    found: list[list[str]] = [[]]
    size = 0
    for name, shape in tensors.items():
        if size > SHARD_BYTES:
            found.append([])
            size = 0
        found[-1].append(name)
        size += 2 * math.prod(shape)
    return found


def write_shard(path: Path, tensors: dict[str, tuple[int, ...]], seed: list[int]) -> None:
    """One safetensors file: the header's length in 8 bytes, the header as JSON, then the tensors one after the other."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors.items():
            file.write(weights(name, shape, random).tobytes())


def weights(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Normal numbers in bfloat16 (the upper half of a float32, cut off): about 1 for norms, of variance 1 / columns for matrices."""
    values = random.standard_normal(shape, np.float32)
    values *= 0.1 if len(shape) == 1 else shape[1] ** -0.5
    if name.endswith("norm.weight"):
        values += 1
    return (values.view(np.uint32) >> 16).astype(np.uint16)
