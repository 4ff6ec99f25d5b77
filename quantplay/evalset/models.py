"""A model folder: complete, safetensors only, no code; then pinned."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from quantplay.digest import digest_of_file
from quantplay.errors import Fault, InputError
from quantplay.evalset.finite import require_finite_weights
from quantplay.evalset.jsonl import printable, refuse_faults
from quantplay.evalset.model_config import QUANTIZED_CONFIG, config_faults, embedding_faults, read_json
from quantplay.evalset.weights import BrokenWeightsError, Tensor, read_header
from quantplay.records import FileEntry, Manifest

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
CODE = frozenset({".py", ".pyc", ".so", ".pyd", ".dll", ".dylib"})
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FULL_PRECISION = ("F64", "F32", "BF16", "F16")


def manifest_of_model(folder: Path, source: str, revision: str | None = None) -> Manifest:
    """Manifest of every file of a model folder but hidden ones; reads all of them.

    Raises InputError with the faults of `model_files`, or with the name of every tensor that holds NaN or infinite values.
    """
    files = model_files(folder)
    try:
        require_finite_weights(folder)
        entries = tuple(
            FileEntry(path=name, size_bytes=path.stat().st_size, sha256=digest_of_file(path))
            for name, path in sorted(files.items())
        )
    except (OSError, BrokenWeightsError) as error:  # a disk that fails, or a file that changes meanwhile
        raise InputError(f"the model in {folder} can't be read", value=error, fix="copy the model again") from error
    return Manifest.of("model", source, entries, revision)


def model_files(folder: Path, *, quantized: bool = False) -> dict[str, Path]:
    """(path relative to the folder) -> file, of every file but hidden ones. Of the weights only the headers are read.

    quantized: weights that are quantized already are fine; they are to be served, not to be quantized.

    Raises InputError with all faults: pickles, code, links that leave the folder, no config, tokenizer or weights,
    configuration files that are broken or ask for code, truncated or malformed safetensors, weights that are quantized
    already, shards that the index names and nobody has, tensors that stand in two files.
    """
    if not folder.is_dir():
        raise InputError(
            "there is no such model folder", value=folder, fix="check `model.source`; it is relative to the plan"
        )
    faults: list[Fault] = []
    files = dict(visible_files(folder, folder.resolve(), faults))
    faults += missing_parts(folder, files)
    faults += [fault for fault in config_faults(files) if not (quantized and fault.what == QUANTIZED_CONFIG)]
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, path in files.items():
        faults += refused_kind(name)
        if path.suffix == ".safetensors":
            try:
                tensors[name] = read_header(path)
            except (BrokenWeightsError, OSError) as error:
                faults.append(Fault(where=name, what=f"not usable as weights: {error}", fix="copy the file again"))
    if INDEX in files:
        faults += index_faults(files, tensors)
    faults += tensor_faults(tensors, quantized)
    faults += embedding_faults(files, {name: one for found in tensors.values() for name, one in found.items()})
    refuse_faults(f"the model in {folder}", faults)
    return files


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
        yield Fault(where=str(folder), what="config.json is missing", fix="copy it from where the weights came from")
    if not any(all(part in files for part in parts) for parts in TOKENIZERS):
        allowed = " or ".join(" + ".join(parts) for parts in TOKENIZERS)
        yield Fault(where=str(folder), what="the tokenizer is missing", allowed=allowed)
    if not any(name.endswith(".safetensors") for name in files):
        yield Fault(where=str(folder), what="there are no weights", allowed="*.safetensors")
    elif WEIGHTS not in files and INDEX not in files:
        found = ", ".join(sorted(name for name in files if name.endswith(".safetensors")))
        yield Fault(
            where=str(folder), what="the weights have a name nobody looks for, or their index is missing",
            value=printable(found), allowed=f"{WEIGHTS}, or shards with {INDEX}",
        )  # fmt: skip


def tensor_faults(tensors: Mapping[str, Mapping[str, Tensor]], quantized: bool) -> Iterator[Fault]:
    """Weights that are quantized already or empty, and tensors that two files of the top folder hold."""
    places: dict[str, list[str]] = defaultdict(list)
    for file, found in tensors.items():
        for name, tensor in found.items():
            if "/" not in file:
                places[name].append(file)
            where = printable(f"{file}: {name}")
            if name.endswith("weight") and tensor.dtype not in FULL_PRECISION and not quantized:
                yield Fault(
                    where=where, what="is not full precision", value=tensor.dtype, allowed=", ".join(FULL_PRECISION),
                    fix="start from the model's full-precision weights",
                )  # fmt: skip
            elif tensor.begin == tensor.end:
                yield Fault(
                    where=where, what="holds no value", value=f"shape {list(tensor.shape)}", fix="save it again"
                )
    for name, files in places.items():
        if len(files) > 1:
            yield Fault(
                where=printable(files[-1]), what="holds a tensor that another file holds too, so which counts is chance",
                value=printable(f"{name}, also in {', '.join(files[:-1])}"), fix="remove one of the files",
            )  # fmt: skip


def index_faults(files: dict[str, Path], tensors: Mapping[str, Mapping[str, Tensor]]) -> Iterator[Fault]:
    """Faults of a sharded model's index: shards and tensors it names that are not there."""
    index = read_json(files[INDEX])
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        yield Fault(where=INDEX, what="no JSON object with `weight_map`", fix="copy the file again")
        return
    for shard in sorted(set(weight_map.values())):
        if shard not in files:
            yield Fault(
                where=INDEX, what="it names a shard that is not there", value=printable(shard),
                fix="copy the missing file; a model is all of its shards",
            )  # fmt: skip
        elif shard in tensors:
            absent = sorted(name for name, where in weight_map.items() if where == shard and name not in tensors[shard])
            if absent:
                what = f"{len(absent)} tensors of the index are not in {printable(shard)}"
                fix = "copy index and shards again, from one place"
                yield Fault(where=INDEX, what=what, value=printable(", ".join(absent)), fix=fix)
