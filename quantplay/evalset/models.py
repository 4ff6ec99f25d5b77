"""A model folder: complete, safetensors only, no code; then pinned."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantplay.digest import digest_of_file
from quantplay.errors import Fault, InputError
from quantplay.evalset.jsonl import printable, refuse_faults
from quantplay.evalset.weights import BrokenWeightsError, tensor_names
from quantplay.records import FileEntry, Manifest

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
CODE = frozenset({".py", ".pyc", ".so", ".pyd", ".dll", ".dylib"})
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
INDEX = "model.safetensors.index.json"


def manifest_of_model(folder: Path, source: str, revision: str | None = None) -> Manifest:
    """Manifest of every file of a model folder but hidden ones.

    Raises InputError with all faults: pickles, code, links that leave the folder, no config, tokenizer or weights,
    truncated or malformed safetensors, shards that the index names and nobody has.
    """
    if not folder.is_dir():
        raise InputError(
            "there is no such model folder", value=folder, fix="check `model.source`; it is relative to the plan"
        )
    faults: list[Fault] = []
    files = dict(visible_files(folder, folder.resolve(), faults))
    faults += missing_parts(folder, files)
    tensors: dict[str, frozenset[str]] = {}
    for name, path in files.items():
        faults += refused_kind(name)
        if path.suffix == ".safetensors":
            try:
                tensors[name] = frozenset(tensor_names(path))
            except (BrokenWeightsError, OSError) as error:
                faults.append(Fault(where=name, what=f"not usable as weights: {error}", fix="copy the file again"))
    if INDEX in files:
        faults += index_faults(files, tensors)
    refuse_faults(f"the model in {folder}", faults)
    entries = tuple(
        FileEntry(path=name, size_bytes=path.stat().st_size, sha256=digest_of_file(path))
        for name, path in sorted(files.items())
    )
    return Manifest.of("model", source, entries, revision)


def visible_files(folder: Path, root: Path, faults: list[Fault]) -> Iterator[tuple[str, Path]]:
    """(path relative to `folder`, file) of everything below it but hidden files and folders.

    A link may lead to a file inside `root`, the model folder, and nowhere else.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        name = path.name
        if path.is_symlink():
            target = Path(os.path.realpath(path))  # Path.resolve raises on a link to itself
            if not target.is_relative_to(root) or not target.is_file():
                faults.append(
                    Fault(
                        where=printable(str(path)),
                        what="a link that leaves the folder, or leads to no file",
                        value=printable(str(target)),
                        fix="put the file itself there",
                    )
                )
                continue
        if path.is_dir():
            yield from ((f"{name}/{inner}", file) for inner, file in visible_files(path, root, faults))
        elif path.is_file():
            yield name, path


def refused_kind(name: str) -> Iterator[Fault]:
    suffix = Path(name).suffix.lower()
    if suffix in PICKLES:
        yield Fault(
            where=printable(name),
            what="a pickle runs code when it is loaded",
            allowed="safetensors",
            fix="save the model with `save_pretrained(..., safe_serialization=True)` and remove this file",
        )
    elif suffix in CODE:
        yield Fault(
            where=printable(name),
            what="code in a model folder is not run, and not accepted",
            fix="remove it; the model must be one that transformers knows itself",
        )


def missing_parts(folder: Path, files: dict[str, Path]) -> Iterator[Fault]:
    if "config.json" not in files:
        yield Fault(where=str(folder), what="config.json is missing")
    elif not isinstance(config := read_json(files["config.json"]), dict) or "model_type" not in config:
        yield Fault(where="config.json", what="no JSON object with `model_type`")
    if not any(all(part in files for part in parts) for parts in TOKENIZERS):
        allowed = " or ".join(" + ".join(parts) for parts in TOKENIZERS)
        yield Fault(where=str(folder), what="the tokenizer is missing", allowed=allowed)
    if not any(name.endswith(".safetensors") for name in files):
        yield Fault(where=str(folder), what="there are no weights", allowed="*.safetensors")


def index_faults(files: dict[str, Path], tensors: dict[str, frozenset[str]]) -> Iterator[Fault]:
    """Faults of a sharded model's index: shards and tensors it names that are not there."""
    index = read_json(files[INDEX])
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        yield Fault(where=INDEX, what="no JSON object with `weight_map`")
        return
    for shard in sorted(set(weight_map.values())):
        if shard not in files:
            yield Fault(where=INDEX, what="it names a shard that is not there", value=printable(shard))
        elif shard in tensors:
            absent = sorted(name for name, where in weight_map.items() if where == shard and name not in tensors[shard])
            if absent:
                what = f"{len(absent)} tensors of the index are not in {printable(shard)}"
                yield Fault(where=INDEX, what=what, value=printable(", ".join(absent)))


def read_json(path: Path) -> Any:
    """The file's JSON, or None when it is none."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
