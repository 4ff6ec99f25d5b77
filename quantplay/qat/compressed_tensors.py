"""compressed-tensors in a training: parameters are stored under their own names, and llm-compressor rounds what was trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.engines.model_file import model_folder
from quantplay.errors import Fault, InputError
from quantplay.qat.formats import Report, Sources
from quantplay.qat.grids import GROUPED
from quantplay.qat.places import Piece, Place
from quantplay.quantizers.compressed_tensors import quantize_job
from quantplay.quantizers.folder import stored_dtype
from quantplay.quantizers.rounding import rounding_recipe
from quantplay.quantizers.stored_layers import WIDE
from quantplay.records import Artifact, Recipe

WIDTHS = {name: width for width, name in WIDE.items()}
PARTS = ("weight_packed", "weight_scale")


def exact_recipe(recipe: Recipe, artifact: Artifact) -> Recipe:
    """Rounded to nearest from the master weights: GPTQ would move them off the grid they were trained for."""
    return rounding_recipe(recipe)


def places(model: Any, sources: Sources, kinds: Mapping[str, str]) -> tuple[Place, ...]:
    parameters, kept = dict(model.named_parameters()), dict(model.named_buffers())
    scales = WIDTHS[stored_dtype(sources.model)]
    found, faults = [], []
    for name, kind in kinds.items():
        if name in parameters and (kind in GROUPED or kind in WIDE):
            shape = tuple(reversed(parameters[name].shape)) or (1,)
            rows = np.arange(parameters[name].numel() // shape[0])
            pieces = (Piece(parameter=name, rows=rows, expert=0),)
            found.append(Place(tensor=name, kind=kind, shape=shape, pieces=pieces, scales=scales))
        elif name in parameters:
            faults.append(
                Fault(where=name, what="can't be trained for its type", value=kind, allowed=", ".join(GROUPED))
            )
        elif name not in kept:
            faults.append(Fault(where=name, what="is no parameter of the model"))
    if faults:
        raise InputError(
            "this model can't be trained for its served types", faults=faults,
            fix=f"take {' or '.join(GROUPED)}, or a GGUF type",
        )  # fmt: skip
    return tuple(found)


def importance(recipe: Recipe, sources: Sources, report: Report | None) -> Mapping[str, np.ndarray]:
    return {}


def make(recipe: Recipe, sources: Sources, *, weights: Path, scratch: Path, out: Path, report: Report) -> Artifact:
    report(0, 3, "rounding the trained weights to the served types")
    job = {
        "recipe": recipe.body(), "model": str(sources.model), "calibration": str(sources.calibration), "out": str(out),
        "weights": str(weights), "scratch": str(scratch),
    }  # fmt: skip
    return Artifact.model_validate(quantize_job(job, lambda done, total, text: None))


def stored(file: Path, places: Sequence[Place]) -> Iterator[tuple[Place, np.ndarray]]:
    import torch
    from safetensors import safe_open

    with model_folder(file) as folder:
        holders = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as opened:
                holders |= dict.fromkeys(opened.keys(), path)

        def rows_of(name: str) -> np.ndarray:
            with safe_open(holders[name], framework="pt") as opened:
                tensor = opened.get_tensor(name)
            return tensor.reshape(-1, tensor.shape[-1]).contiguous().view(torch.uint8).numpy()

        for place in places:
            layer = place.tensor.removesuffix(".weight")
            names = [f"{layer}.{part}" for part in PARTS] if place.kind in GROUPED else [place.tensor]
            yield place, np.concatenate([rows_of(name) for name in names], axis=1)
