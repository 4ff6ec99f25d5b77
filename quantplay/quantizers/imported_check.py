"""Whether a file is the imported artifact that a recipe names, read again from the file alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantplay.digest import digest_of_file
from quantplay.engines.model_file import model_folder
from quantplay.errors import Fault
from quantplay.quantizers.imported import read_artifact
from quantplay.records import Artifact, Recipe


def imported_faults(recipe: Recipe, artifact: Artifact, file: Path) -> Iterator[Fault]:
    """One fault where the file is another one than was imported or says that it is another type, and one a tensor that is not stored
    as `artifact` records it. Raises InputError or IntegrityError where the file can't be read as a quantized model."""
    if recipe.imported != artifact.sha256 or digest_of_file(file) != recipe.imported:
        yield Fault(
            where="imported",
            what="is not the file that was imported",
            value=artifact.sha256,
            allowed=str(recipe.imported),
        )
        return
    if recipe.format == "gguf":
        told = read_artifact(file)
    else:
        with model_folder(file) as folder:
            told = read_artifact(folder)
    if (told.format, told.type) != (recipe.format, recipe.type):
        yield Fault(
            where="imported", what="says that it is another type than the recipe names", value=f"{told.format} {told.type}",
            allowed=f"{recipe.format} {recipe.type}",
        )  # fmt: skip
    for name in sorted(told.tensors.keys() | artifact.tensors.keys()):
        here, recorded = told.tensors.get(name, "missing"), artifact.tensors.get(name, "none")
        if here != recorded:
            yield Fault(where=name, what="is not stored as recorded", value=here, allowed=recorded)
