"""Will the work fit this machine's memory? Answered before it starts: a process that the system kills says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from quantplay.envelope.jobs import free_bytes
from quantplay.errors import InputError
from quantplay.records import Recipe

LIBRARIES_BYTES = 1_200 * 2**20
"""Python with torch, transformers and the method's library, and no model: measured 0.9 GiB."""
SPARE = 1.1


def needed_bytes(recipe: Recipe, shapes: Sequence[tuple[int, ...]], source_bytes: int) -> int:
    """Peak memory of making `recipe`, bytes, from above. shapes: of every tensor of the source.

    The weights and a copy of the largest, the calibration texts' activations between two blocks (read and written), and the second
    moments of the widest layer's inputs with their inverse and its Cholesky factor, all float32.
    """
    matrices = [shape for shape in shapes if len(shape) == 2]
    if not matrices:
        return int(SPARE * (LIBRARIES_BYTES + source_bytes))
    hidden = max({shape[1] for shape in matrices}, key=lambda size: sum(shape[1] == size for shape in matrices))
    widest = max(shape[1] for shape in matrices)
    largest = max(prod(shape) for shape in matrices)
    activations = 2 * recipe.calibration_samples * recipe.calibration_tokens * hidden * 4
    moments = 3 * widest * widest * 4 if recipe.calibration_samples else 0
    return int(SPARE * (LIBRARIES_BYTES + source_bytes + 2 * largest * 4 + activations + moments))


def require_memory(recipe: Recipe, shapes: Sequence[tuple[int, ...]], source_bytes: int) -> None:
    """Raise InputError where the work would not fit."""
    needed, available = needed_bytes(recipe, shapes, source_bytes), free_bytes()
    if needed > available:
        raise InputError(
            f"this machine has too little memory to make {recipe.type} of this model",
            value=f"{available / 2**30:.1f} GiB free, about {needed / 2**30:.1f} GiB needed",
            fix="stop what else runs, lower calibration.samples or calibration.tokens, or use a machine with more memory",
        )
