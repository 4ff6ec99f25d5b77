"""Importance matrices kept on this machine: artifact, scan, mixes, training and export of one run weigh with the same one.

A file is named after all that determines its matrix, so it is measured once. Nothing rests on the folder: without it, or with a file
that can't be read, a matrix is measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from quantplay.digest import digest_of
from quantplay.errors import InputError
from quantplay.quantizers.importance import ImportanceMatrix, load_importance, save_importance
from quantplay.records import Recipe


def measured_with(recipe: Recipe) -> dict[str, Any]:
    """Model, calibration set and libraries that a matrix is measured with."""
    return {"model": recipe.model, "calibration": recipe.calibration, "versions": recipe.versions}


def kept_file(folder: Path, measured_with: Mapping[str, Any], *, samples: int, tokens: int, threads: int) -> Path:
    """Where the matrix on the first `samples` texts, each of at most `tokens` tokens, lies once it is measured."""
    key = digest_of({**measured_with, "samples": samples, "tokens": tokens, "threads": threads})
    return folder / f"{key}.importance"


def kept_or_measured(file: Path | None, measure: Callable[[], ImportanceMatrix]) -> ImportanceMatrix:
    """What lies in `file`, or what `measure` gives, which then lies there; None: nothing is kept."""
    if file is not None and file.is_file():
        with suppress(InputError):  # damaged
            return load_importance(file)
    matrix = measure()
    if file is not None:
        save_importance(matrix, file)
    return matrix
