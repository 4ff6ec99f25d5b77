"""Whether a folder's file is what its recipe says, read again from the file alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from quantplay.engines.model_file import model_folder
from quantplay.errors import Fault
from quantplay.quantizers import method
from quantplay.quantizers.folder import NOTE
from quantplay.quantizers.layer_types import FULL, exactly, quantized_layers
from quantplay.quantizers.stored_layers import kinds, stored_faults, tensors_of
from quantplay.records import Artifact, Recipe


def folder_faults(recipe: Recipe, artifact: Artifact, file: Path) -> Iterator[Fault]:
    """One fault where the file names another recipe, one a layer that is not what a mix's recipe says, and one a tensor that is
    not stored as `artifact` records it.

    Raises IntegrityError where the file is no archive of ours.
    """
    layers = quantized_layers(recipe.format, artifact.tensors)
    with model_folder(file) as folder:
        try:
            named = json.loads((folder / NOTE).read_text(encoding="utf-8"))["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            named = "none"
        if named != recipe.digest():
            yield Fault(where=NOTE, what="names another recipe", value=str(named), allowed=recipe.digest())
        saved = tensors_of(folder)
    yield from stored_faults(layers, saved, method(recipe.format).STORED)
    if recipe.tensor_types:
        wanted = {pattern: kind for pattern, kind in recipe.tensor_types.items() if kind != FULL}
        told = {exactly(layer): kind for layer, kind in layers.items()}
        for pattern in sorted(wanted.keys() | told.keys()):
            here, meant = told.get(pattern, FULL), wanted.get(pattern, FULL)
            if here != meant:
                yield Fault(
                    where=pattern, what="is recorded as another type than the recipe names", value=here, allowed=meant
                )
    found = kinds(layers, saved)
    for name in sorted(found.keys() | artifact.tensors.keys()):
        here, recorded = found.get(name, "missing"), artifact.tensors.get(name, "none")
        if here != recorded:
            yield Fault(where=name, what="is not stored as recorded", value=here, allowed=recorded)
