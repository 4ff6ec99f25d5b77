"""GGUF in a training: rows are found through the converted file, and llama.cpp converts and rounds what was trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.tensor_names import gguf_names
from quantplay.qat.formats import Report, Sources
from quantplay.qat.parameters import numpy_parameters
from quantplay.qat.places import Place, places_of
from quantplay.quantizers.gguf import importance_of, quantize, read_tensors, require_covered
from quantplay.quantizers.recipe import EACH_NAMED, HIGHER_PRECISION
from quantplay.quantizers.trained import trained_folder
from quantplay.records import Artifact, Recipe


def exact_recipe(recipe: Recipe, artifact: Artifact) -> Recipe:
    """With or without an importance matrix as before; every type written out."""
    types = {f"^{re.escape(name)}$": kind for name, kind in artifact.tensors.items() if kind != "F32"}
    return recipe.model_copy(update={"tensor_types": types, "higher_precision": (*HIGHER_PRECISION, EACH_NAMED)})


def places(model: Any, sources: Sources, kinds: Mapping[str, str]) -> tuple[Place, ...]:
    assert sources.reference is not None
    return places_of(sources.reference, kinds, numpy_parameters(model), gguf_names(model))


def importance(recipe: Recipe, sources: Sources, report: Report | None) -> Mapping[str, np.ndarray]:
    """Measured on the full-precision model, by training and export alike."""
    if not recipe.importance_matrix:
        return {}
    matrix = importance_of(recipe, sources.model, sources.calibration, report, sources.kept)
    assert matrix is not None
    assert sources.reference is not None
    require_covered(matrix, {name: tensor.shape for name, tensor in read_tensors(sources.reference).items()})
    return matrix.values


def make(recipe: Recipe, sources: Sources, *, weights: Path, scratch: Path, out: Path, report: Report) -> Artifact:
    assert recipe.trained is not None
    assert sources.cache is not None
    with trained_folder(sources.model, weights, recipe.trained, scratch) as folder:
        report(0, 3, "converting the trained weights")
        full_precision = folder.with_name("trained-f32.gguf")
        convert(ensure_converter(sources.cache), folder, full_precision)
        report(1, 3, "rounding them to the served types")
        return quantize(
            recipe, reference_gguf=full_precision, model_folder=sources.model, calibration_file=sources.calibration, out=out,
            kept=sources.kept,
        )  # fmt: skip


def stored(file: Path, places: Sequence[Place]) -> Iterator[tuple[Place, np.ndarray]]:
    import gguf

    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    for place in places:
        data = np.ascontiguousarray(tensors[place.tensor].data)
        yield place, data.reshape(-1, data.shape[-1]).view(np.uint8)
