"""What a model folder says about its size, without loading a weight: config.json and the headers of its safetensors files."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from quantplay.envelope.architecture import FAMILIES, Sizes, tensors_of, window_of
from quantplay.envelope.mix import Shape
from quantplay.errors import InputError

MAX_HEADER_BYTES = 100 * 2**20  # the limit of the safetensors format itself


BYTES_OF = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
NOT_TEXT = ("vision_tower.", "multi_modal_projector.", "visual.", "model.vision_tower.", "model.multi_modal_projector.")
"""Parts of a model that also sees: no text runtime's file holds them."""
ONE_EXPERT = re.compile(r"layers\.(\d+)\..*experts\.(\d+)\.(w1|w2|w3|gate_proj|up_proj|down_proj)\.weight$")
ALL_EXPERTS = re.compile(r"layers\.(\d+)\..*experts\.(gate_up_proj|down_proj)$")
EXPERT_PARTS = {"w1": "gate", "w2": "down", "w3": "up", "gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
OUTPUT = {"lm_head.weight": "output.weight"}  # gguf has no name for it in architectures that always tie it
SHARED_EXPERT = re.compile(r"layers\.(\d+)\..*shared_expert\.(gate|up|down)_proj\.weight$")


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
    source_width: int = 2  # bytes a weight of the source
    experts: int = 0  # of each layer that has any; 0: dense
    experts_used: int = 0  # by one token
    window: int = 0  # tokens a sliding layer attends to; 0: all layers attend to everything
    window_layers: int = 0  # how many layers have it

    @property
    def heads_per_group(self) -> int:
        return max(1, self.heads // self.key_value_heads)

    @property
    def weights(self) -> int:
        """How many numbers the model has."""
        return sum(prod(shape) for shape in self.tensors.values())


def read_shape(model_folder: Path, *, need_weights: bool = True) -> ModelShape:
    """Read it. Raises InputError with every key of config.json that is missing or no positive whole number.

    need_weights: False makes do with config.json where no safetensors file is beside it, for the families of architecture.py.
    """
    config = read_config(model_folder)
    text, model_type = config.get("text_config", config), text_type(config)
    shape, tied = sizes_of(text, model_folder / "config.json"), is_tied(config, model_type)
    if need_weights or any(model_folder.glob("*.safetensors")):
        tensors, source_bytes, width = read_tensors(model_folder, model_type, shape, tied)
    else:
        tensors = tensors_of(text, model_type, layers=shape["layers"], tied=tied)
        width = width_of(text.get("dtype") or text.get("torch_dtype") or config.get("torch_dtype"))
        source_bytes = width * sum(prod(one) for one in tensors.values())
    window, window_layers = window_of(text, model_type, shape["layers"])
    return ModelShape(
        **shape, tensors=tensors, source_bytes=source_bytes, source_width=width, window=window, window_layers=window_layers,
        **experts_of(text, tensors),
    )  # fmt: skip


def text_type(config: Mapping[str, Any]) -> str:
    return str(config.get("text_config", config).get("model_type", config.get("model_type", "llama")))


def is_tied(config: Mapping[str, Any], model_type: str) -> bool:
    """Whether the embedding is the output matrix too."""
    family = FAMILIES.get(model_type)
    told = config.get("text_config", config).get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return bool(told) if told is not None else family is not None and family.tied


def sizes_of(text: Mapping[str, Any], path: Path) -> dict[str, int]:
    sizes = Sizes(config=text)
    heads, hidden = sizes.whole("num_attention_heads"), sizes.whole("hidden_size")
    found = {
        "layers": sizes.whole("num_hidden_layers"),
        "heads": heads,
        "key_value_heads": sizes.whole("num_key_value_heads", heads),
        "head_dim": sizes.whole("head_dim", max(1, hidden // heads)),
        "hidden": hidden,
        "intermediate": sizes.whole("intermediate_size", 4 * hidden),
        "vocabulary": sizes.whole("vocab_size"),
    }
    if sizes.faults:
        raise InputError(f"{path} does not say how large the model is", faults=sizes.faults)
    return found


def experts_of(text: Mapping[str, Any], tensors: Mapping[str, Shape]) -> dict[str, int]:
    """How many experts a layer has, as its tensors say, and how many of them a token uses, as the config says."""
    count = max((shape[2] for name, shape in tensors.items() if "_exps" in name and len(shape) > 2), default=0)
    used = text.get("num_experts_per_tok")
    return {"experts": count, "experts_used": min(used, count) if isinstance(used, int) and used > 0 else count}


def width_of(dtype: object) -> int:
    return 4 if dtype == "float32" else 2


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


def read_tensors(
    model_folder: Path, model_type: str, sizes: Mapping[str, int], tied: bool
) -> tuple[dict[str, Shape], int, int]:
    """GGUF name -> shape of every tensor, the bytes they take in the source, and the bytes of most of its weights."""
    import gguf

    architectures = {name: architecture for architecture, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(
        architectures.get(model_type.removesuffix("_text").replace("_moe", "moe"), gguf.MODEL_ARCH.LLAMA),
        sizes["layers"],
    )
    tensors: dict[str, Shape] = {}
    by_width: dict[int, int] = {}
    files = sorted(model_folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{model_folder} holds no safetensors weights", allowed="*.safetensors")
    for path in files:
        for name, entry in read_header(path).items():
            if name == "__metadata__" or name.startswith(NOT_TEXT):
                continue
            begin, end = entry["data_offsets"]
            width = BYTES_OF.get(entry.get("dtype"), 2)
            by_width[width] = by_width.get(width, 0) + end - begin
            plain = name.removeprefix("model.language_model.").removeprefix("language_model.")
            plain = plain if plain == name or plain.startswith(("model.", "lm_head.")) else f"model.{plain}"
            shape = tuple(reversed(entry["shape"])) or (1,)
            if add_experts(tensors, plain, shape, sizes["hidden"]):
                continue
            gguf_name = OUTPUT.get(plain) or names.get_name(plain, try_suffixes=(".weight", ".bias")) or plain
            # A tied output matrix that is stored all the same is not written to GGUF.
            if not (tied and gguf_name == "output.weight"):
                tensors[gguf_name] = shape
    return tensors, sum(by_width.values()), max(by_width, key=lambda width: by_width[width], default=2)


def add_experts(tensors: dict[str, Shape], name: str, shape: Shape, hidden: int) -> bool:
    """Add the tensor of an expert, or of all of a layer, as llama.cpp's converter fuses them; False for any other tensor."""
    if one := ONE_EXPERT.search(name):
        fused = f"blk.{one[1]}.ffn_{EXPERT_PARTS[one[3]]}_exps.weight"
        tensors[fused] = (*shape, max(int(one[2]) + 1, tensors.get(fused, (0, 0, 0))[2]))
    elif shared := SHARED_EXPERT.search(name):
        tensors[f"blk.{shared[1]}.ffn_{shared[2]}_shexp.weight"] = shape
    elif (several := ALL_EXPERTS.search(name)) and len(shape) == 3:
        other = shape[1] if shape[0] == hidden else shape[0]
        if several[2] == "gate_up_proj":
            tensors |= {
                f"blk.{several[1]}.ffn_{part}_exps.weight": (hidden, other // 2, shape[2]) for part in ("gate", "up")
            }
        else:
            tensors[f"blk.{several[1]}.ffn_down_exps.weight"] = (other, hidden, shape[2])
    else:
        return False
    return True


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
