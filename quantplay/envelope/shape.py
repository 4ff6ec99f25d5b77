"""What a model folder says about its size, without loading a weight: config.json and the headers of its safetensors files."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay.envelope.mix import Shape
from quantplay.errors import Fault, InputError

MAX_HEADER_BYTES = 100 * 2**20  # the limit of the safetensors format itself


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Sizes of a decoder model."""

    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    hidden: int
    intermediate: int
    vocabulary: int
    tensors: dict[str, Shape]  # GGUF name -> columns first; names GGUF does not know are kept as they are
    source_bytes: int  # of the safetensors files' tensors

    @property
    def heads_per_group(self) -> int:
        return max(1, self.heads // self.key_value_heads)

    @property
    def weights(self) -> int:
        """How many numbers the model has."""
        total = 0
        for shape in self.tensors.values():
            count = 1
            for size in shape:
                count *= size
            total += count
        return total


def read_shape(model_folder: Path) -> ModelShape:
    """Read it. Raises InputError with every key of config.json that is missing or no positive whole number."""
    config = read_config(model_folder)
    text = config.get("text_config", config)
    faults: list[Fault] = []

    def whole(key: str, default: int | None = None) -> int:
        value = text.get(key, default)
        if value is None and default is not None:
            value = default
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        faults.append(
            Fault(
                where=f"config.json: {key}",
                what="is no positive whole number",
                value=json.dumps(value),
                allowed="1, 2, ...",
            )
        )
        return 1

    layers, heads, hidden = whole("num_hidden_layers"), whole("num_attention_heads"), whole("hidden_size")
    shape = {
        "layers": layers,
        "heads": heads,
        "key_value_heads": whole("num_key_value_heads", heads),
        "head_dim": whole("head_dim", max(1, hidden // heads)),
        "hidden": hidden,
        "intermediate": whole("intermediate_size", 4 * hidden),
        "vocabulary": whole("vocab_size"),
    }
    if faults:
        raise InputError(f"{model_folder / 'config.json'} does not say how large the model is", faults=faults)
    tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    tensors, source_bytes = read_tensors(model_folder, str(text.get("model_type", "llama")), layers, tied)
    return ModelShape(**shape, tensors=tensors, source_bytes=source_bytes)


def read_config(model_folder: Path) -> dict[str, Any]:
    path = model_folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no {path}", allowed="a folder with config.json and *.safetensors") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read", value=error) from error
    if not isinstance(config, dict) or not isinstance(config.get("text_config", {}), dict):
        raise InputError(f"{path} is no JSON object", value=type(config).__name__)
    return config


def read_tensors(model_folder: Path, model_type: str, layers: int, tied: bool) -> tuple[dict[str, Shape], int]:
    """GGUF name -> shape of every tensor, and the bytes they take in the source."""
    import gguf

    architectures = {name: architecture for architecture, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(architectures.get(model_type, gguf.MODEL_ARCH.LLAMA), layers)
    tensors: dict[str, Shape] = {}
    source_bytes = 0
    files = sorted(model_folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{model_folder} holds no safetensors weights", allowed="*.safetensors")
    for path in files:
        for name, entry in read_header(path).items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            source_bytes += end - begin
            gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias")) or name
            # A tied output matrix that is stored all the same is not written to GGUF.
            if not (tied and gguf_name == "output.weight"):
                tensors[gguf_name] = tuple(reversed(entry["shape"])) or (1,)
    return tensors, source_bytes


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file: name -> dtype, shape, data_offsets."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(file.read(length))
        if not all(
            isinstance(entry, dict) and (name == "__metadata__" or {"shape", "data_offsets"} <= entry.keys())
            for name, entry in header.items()
        ):
            raise ValueError("its header is no table of tensors")
    except (OSError, ValueError, AttributeError, struct.error) as error:
        raise InputError(
            f"{path} is no safetensors file", value=error, fix="download or save the model again"
        ) from error
    return header
