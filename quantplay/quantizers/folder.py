"""What every format of folders shares: which layers are meant, what they need beforehand, and the check of what was saved.

The folder becomes one file (engines/model_file.py): the weights as the method's library saved them, every other file of
the source, its configuration with the method's part added, and `quantplay.json`, which names the recipe.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay import process
from quantplay.digest import digest_of_file
from quantplay.engines.model_file import write_model_file
from quantplay.engines.tarball import files_below
from quantplay.engines.whole_file import require_space
from quantplay.errors import Fault, InputError
from quantplay.evalset import require_finite_weights
from quantplay.evalset.weights import BITS, read_header
from quantplay.formats import TYPES
from quantplay.quantizers.fitting import require_memory
from quantplay.quantizers.importance import fixed_threads
from quantplay.quantizers.layer_types import FULL, types_of_layers
from quantplay.quantizers.stored_layers import WIDE, Stored, kinds, require_stored, tensors_of
from quantplay.records import Artifact, Recipe

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Progress = Callable[[int, int, str], None]
Compress = Callable[[Recipe, Path, Path, Path], dict[str, str]]
"""(recipe, model folder, calibration file, folder to save into) -> the layers that were meant with their types, as `targets` gives them."""

NOTE = "quantplay.json"
INDEX = ".safetensors.index.json"
PACKED = ("quantize_config.json",)
"""Files beside config.json in which a library says how the weights are packed."""
MOST_LEFT = 0.05
"""Share of the weights outside embedding and output matrix that may stay at full precision: routers, small convolutions."""


def make(
    recipe: Recipe, compress: Compress, stored: Mapping[str, Stored], *, model: Path, calibration: Path, out: Path,
    on_progress: Progress,
) -> Artifact:  # fmt: skip
    """The artifact of `recipe` at `out`, which appears only when every layer that was meant is stored as its type. stored: by type.

    Raises InputError on weights that are not finite, on a model too large for this machine's memory and on one whose layers the
    method can't reach, OutOfSpace on a full disk.
    """
    started = time.perf_counter()
    files = {name: path for name, path in files_below(model).items() if not hidden(name)}
    weights = {
        name: tensor
        for path in files.values()
        if path.suffix == ".safetensors"
        for name, tensor in read_header(path).items()
    }
    size = sum(tensor.end - tensor.begin for tensor in weights.values())
    require_space(out, 2 * size)  # the folder and the file made of it
    require_memory(recipe, [tensor.shape for tensor in weights.values()], size)
    require_finite_weights(model)
    on_progress(0, 3, "steps")
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=made_parent(out)))
    try:
        with fixed_threads(recipe.threads):
            meant = compress(recipe, model, calibration, folder)
        on_progress(1, 3, "steps")
        complete(folder, files, recipe)
        saved = tensors_of(folder)
        require_stored(meant, saved, stored)
        on_progress(2, 3, "steps")
        write_model_file(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    on_progress(3, 3, "steps")
    count = sum(prod(tensor.shape) for tensor in weights.values())
    return Artifact(
        recipe=recipe.digest(),
        format=recipe.format,
        type=recipe.type,
        file_name=out.name,
        sha256=digest_of_file(out),
        size_bytes=out.stat().st_size,
        bits_per_weight=round(sum(prod(one.shape) * BITS[one.dtype] for one in saved.values()) / count, 6),
        tensors=kinds(meant, saved),
        importance_matrix=None,
        seconds=round(time.perf_counter() - started, 3),
        peak_resident_bytes=process.peak_resident_bytes(),
    )


def hidden(name: str) -> bool:
    """Whether a file or a folder above it is hidden: such files are no part of a model (evalset/models.py)."""
    return any(part.startswith(".") for part in name.split("/"))


def made_parent(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


# --- before --------------------------------------------------------------------------------------------------------


def targets(model: PreTrainedModel, recipe: Recipe) -> dict[str, str]:
    """Name -> type of every linear layer but the output matrix.

    Raises InputError where most of the model is in no linear layer, where a row can't be cut into its type's groups, or where a
    mix does not name these very layers.
    """
    import torch

    output = model.get_output_embeddings()
    meant = {
        name: tuple(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output
    }
    left = {name: parameter.numel() for name, parameter in out_of_reach(model, meant)}
    inside = sum(prod(shape) for shape in meant.values()) + sum(left.values())
    if sum(left.values()) > MOST_LEFT * inside:
        largest = sorted(left, key=lambda name: (-left[name], name))
        raise InputError(
            f"{recipe.type} can't reach most of this architecture: it quantizes linear layers, and these are none",
            value=f"{model.config.model_type}: {', '.join(largest[:3])}",
            allowed="a dense decoder of linear layers", fix="choose a GGUF type, which knows more architectures",
        )  # fmt: skip
    types = types_of_layers(recipe, meant)
    blocks = {name: TYPES[kind].block_size for name, kind in types.items() if kind != FULL}
    faults = [
        Fault(where=name, what="its rows can't be cut into groups", value=f"{meant[name][1]} weights", allowed=f"a multiple of {block}")
        for name, block in blocks.items()
        if meant[name][1] % block
    ]  # fmt: skip
    if faults:
        raise InputError(
            f"{len(faults)} layers can't be stored as {recipe.type}", faults=faults,
            fix="choose W8A8, FP8_DYNAMIC or BNB_INT8, which have a scale a row",
        )  # fmt: skip
    return types


def out_of_reach(
    model: PreTrainedModel, meant: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Matrices that are neither a target nor embedding or output matrix."""
    spared = [module for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module is not None]
    kept = {id(parameter) for module in spared for parameter in module.parameters()}
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim > 1 and parameter.shape[-1] > 1
        if matrix and id(parameter) not in kept and name.removesuffix(".weight") not in meant:
            yield name, parameter


def stored_dtype(folder: Path) -> str:
    """The precision most of the weights in `folder` are stored in, as torch names it."""
    sizes = dict.fromkeys(WIDE.values(), 0)
    for path in sorted(folder.glob("*.safetensors")):
        for tensor in read_header(path).values():
            name = WIDE.get(tensor.dtype)
            if name is not None:
                sizes[name] += tensor.end - tensor.begin
    return max(sizes, key=lambda name: sizes[name])


# --- after ---------------------------------------------------------------------------------------------------------


def complete(folder: Path, source: Mapping[str, Path], recipe: Recipe) -> None:
    """Make the folder the source with other weights: its configuration and other files, what says how the weights are packed, and
    nothing that names a path or differs from run to run."""
    saved = read_object(folder / "config.json")
    packed = {name: read_object(folder / name) for name in PACKED if (folder / name).is_file()}
    for path in folder.iterdir():
        if path.suffix != ".safetensors" and not path.name.endswith(INDEX):
            path.unlink()
    for name, path in source.items():
        if path.suffix != ".safetensors" and not name.endswith(INDEX):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    told = read_object(source["config.json"])
    told.pop("torch_dtype", None)  # the older name of dtype
    config = told | {"dtype": saved["dtype"], "quantization_config": without_paths(saved["quantization_config"])}
    (folder / "config.json").write_bytes(json_bytes(config))
    for name, body in packed.items():
        (folder / name).write_bytes(json_bytes(without_paths(body)))
    (folder / NOTE).write_bytes(json_bytes({"recipe": recipe.digest(), "type": recipe.type}))


def read_object(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def without_paths(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` without the keys that name a folder of the process that made it."""
    return {
        key: without_paths(value) if isinstance(value, dict) else value
        for key, value in body.items()
        if not key.endswith("_path")
    }


def json_bytes(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()
