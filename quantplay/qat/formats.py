"""What a training has to know of a serving format: a literal registry, loaded only when used.

To add a format: its grids in grids.py, a module here with the functions of `ServedFormat`, and its line in `MODULES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from quantplay.errors import InputError
from quantplay.qat.places import Place
from quantplay.records import Artifact, Recipe

if TYPE_CHECKING:
    import numpy as np

Report = Callable[[int, int, str], None]
MODULES: dict[str, str] = {
    "gguf": "quantplay.qat.gguf",
    "compressed-tensors": "quantplay.qat.compressed_tensors",
}
"""Serving format -> module."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Files that both training and export start from."""

    model: Path  # folder of the full-precision model
    reference: Path | None  # the same as one file of the serving format, where it is converted into one
    calibration: Path
    kept: Path  # folder of importance matrices measured before
    cache: Path | None = None  # where the converter lies; only an export needs it


class ServedFormat(Protocol):
    """One serving format."""

    def exact_recipe(self, recipe: Recipe, artifact: Artifact) -> Recipe:
        """How trained weights are rounded once, every tensor stored as it is in `artifact`, which `recipe` made."""
        ...

    def places(self, model: Any, sources: Sources, kinds: Mapping[str, str]) -> tuple[Place, ...]:
        """Where the tensors of `kinds` (served tensor -> type) lie among the parameters of `model`, the full-precision one.

        Raises InputError where that can't be told, or where a tensor can't be trained for its type.
        """
        ...

    def importance(self, recipe: Recipe, sources: Sources, report: Report | None) -> Mapping[str, np.ndarray]:
        """Served tensor -> mean squared inputs, where `recipe` rounds with them; else empty."""
        ...

    def make(
        self, recipe: Recipe, sources: Sources, *, weights: Path, scratch: Path, out: Path, report: Report
    ) -> Artifact:
        """The file `out` of the trained `weights`, rounded once by the format's own quantizer."""
        ...

    def stored(self, file: Path, places: Sequence[Place]) -> Iterator[tuple[Place, np.ndarray]]:
        """What lies in `file` for every place: uint8 (rows, bytes of a row), as the grid's `codes`."""
        ...


def format_of(serving_format: str) -> ServedFormat:
    """Raises InputError where nothing is trained for this format."""
    if serving_format not in MODULES:
        raise InputError(
            "weights can't be trained for this format", value=serving_format, allowed=", ".join(MODULES),
            fix="name a type of one of these formats in envelope.types",
        )  # fmt: skip
    return cast(ServedFormat, importlib.import_module(MODULES[serving_format]))
