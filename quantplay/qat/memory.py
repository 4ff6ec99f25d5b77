"""Memory that runs out in a training: how it shows, and what is said where nothing smaller is left to try."""

from __future__ import annotations

import gc

from quantplay.errors import InputError
from quantplay.records import TrainingSettings

SAID = ("out of memory", "can't allocate memory", "not enough memory", "Cannot allocate memory")
"""What torch's allocators say in a plain RuntimeError."""


def is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in SAID)


def released(device: str) -> None:
    """Give back what a failed attempt left."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def one_row_too_many(settings: TrainingSettings) -> InputError:
    more = "" if settings.gradient_checkpointing else "set training.gradient_checkpointing, or "
    return InputError(
        "one row of training texts does not fit the memory", value=f"{settings.row_tokens} tokens",
        fix=f"{more}lower training.row_tokens, or train on a machine with more memory",
    )  # fmt: skip
