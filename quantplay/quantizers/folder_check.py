"""Whether a folder's file is what its recipe says, read again from the file alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from quantplay.engines.model_file import model_folder
from quantplay.errors import Fault
from quantplay.quantizers.folder import NOTE, kinds, tensors_of
from quantplay.records import Artifact, Recipe


def folder_faults(recipe: Recipe, artifact: Artifact, file: Path) -> Iterator[Fault]:
    """One fault where the file names another recipe, and one a tensor that is not stored as `artifact` records it.

    Raises IntegrityError where the file is no archive of ours.
    """
    with model_folder(file) as folder:
        try:
            named = json.loads((folder / NOTE).read_text(encoding="utf-8"))["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            named = "none"
        if named != recipe.digest():
            yield Fault(where=NOTE, what="names another recipe", value=str(named), allowed=recipe.digest())
        layers = {name.removesuffix(".weight"): () for name, kind in artifact.tensors.items() if kind == recipe.type}
        found = kinds(recipe, layers, tensors_of(folder))
    for name in sorted(found.keys() | artifact.tensors.keys()):
        here, recorded = found.get(name, "missing"), artifact.tensors.get(name, "none")
        if here != recorded:
            yield Fault(where=name, what="is not stored as recorded", value=here, allowed=recorded)
