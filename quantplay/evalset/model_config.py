"""The small JSON files of a model folder: whole, asking for no code, not of a quantized model, fitting the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from quantplay.errors import Fault
from quantplay.evalset.jsonl import printable
from quantplay.evalset.weights import BrokenWeightsError, Tensor, read_header

OBJECTS = (
    "config.json", "generation_config.json", "special_tokens_map.json", "tokenizer.json",
    "tokenizer_config.json", "vocab.json",
)  # fmt: skip
"""Files that are one JSON object in every model that transformers can load."""

EMBEDDINGS = ("embed_tokens.weight", "embed_in.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight")
"""How the names of token embeddings end: Llama and most, GPT-NeoX, GPT-2, BLOOM and Falcon, Meta's own."""


def config_faults(files: Mapping[str, Path]) -> Iterator[Fault]:
    """`files`: name inside the model folder -> file."""
    for name in OBJECTS:
        if name not in files:
            continue
        body = read_json(files[name])
        if not isinstance(body, dict):
            what = "no JSON object with `model_type`" if name == "config.json" else "no JSON object"
            yield Fault(where=name, what=what, fix="copy the file again; it is cut short or damaged")
        elif "auto_map" in body:
            yield Fault(
                where=name, what="asks for code of its own, which is never run", value=printable(body["auto_map"]),
                allowed="a model that transformers knows itself",
                fix="where transformers knows `model_type` remove `auto_map`; otherwise this model can't be used",
            )  # fmt: skip
        elif name == "config.json":
            yield from model_faults(body)


QUANTIZED_CONFIG = "says that the model is quantized already (`quantization_config`)"


def model_faults(config: dict[str, Any]) -> Iterator[Fault]:
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind.strip():
        yield Fault(
            where="config.json", what="no JSON object with `model_type`", value=None if kind is None else printable(kind),
            allowed='a name transformers knows, such as "llama"', fix="copy config.json from where the weights came from",
        )  # fmt: skip
    if config.get("quantization_config") is not None:
        yield Fault(
            where="config.json", what=QUANTIZED_CONFIG,
            value=printable(config["quantization_config"]), allowed="a full-precision model",
            fix="start from the weights this model was quantized from",
        )  # fmt: skip


def embedding_faults(files: Mapping[str, Path], tensors: Mapping[str, Tensor]) -> Iterator[Fault]:
    """`vocab_size` of config.json is the number of rows of the token embedding."""
    size = stated_size(read_json(files["config.json"])) if "config.json" in files else None
    rows = embedding_rows(tensors)
    if size is not None and rows is not None and size != rows:
        yield Fault(
            where="config.json", what="`vocab_size` is not what the weights have", value=printable(size),
            allowed=f"{rows}, the rows of the token embedding", fix="use config.json and weights of one model",
        )  # fmt: skip


def vocabulary_size(folder: Path) -> int | None:
    """Tokens the model in `folder` has embeddings for: by its weights, else by config.json; None where neither says."""
    tensors: dict[str, Tensor] = {}
    for path in folder.glob("*.safetensors"):
        with suppress(OSError, BrokenWeightsError):
            tensors |= read_header(path)
    rows = embedding_rows(tensors)
    if rows is None:
        size = stated_size(read_json(folder / "config.json"))
        rows = size if type(size) is int else None
    return rows


def stated_size(config: Any) -> Any:
    """What config.json says under `vocab_size`, where it says anything."""
    if not isinstance(config, dict):
        return None
    text = config.get("text_config")
    return (text if isinstance(text, dict) else config).get("vocab_size")


def embedding_rows(tensors: Mapping[str, Tensor]) -> int | None:
    """How many tokens the embedding has rows for; None where no tensor is surely the token embedding."""
    found = {
        tensor.shape[0] for name, tensor in tensors.items() if name.endswith(EMBEDDINGS) and len(tensor.shape) == 2
    }
    return found.pop() if len(found) == 1 else None


def read_json(path: Path) -> Any:
    """The file's JSON, or None when it is none."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
