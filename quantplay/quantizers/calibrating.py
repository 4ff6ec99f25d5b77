"""Calibration texts as tokens, one by one in the file's order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import InputError
from quantplay.quantizers.importance import calibration_texts
from quantplay.records import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def token_samples(tokenizer: PreTrainedTokenizerBase, recipe: Recipe, file: Path) -> list[list[int]]:
    """The recipe's first samples of `file`, each cut to its number of tokens. Raises InputError where one has none."""
    samples = []
    for number, text in enumerate(calibration_texts(file, recipe.calibration_samples), start=1):
        found = tokenizer(text, truncation=True, max_length=recipe.calibration_tokens)["input_ids"]
        tokens = [int(token) for token in found]  # type: ignore[arg-type, union-attr]
        if not tokens:
            raise InputError("a calibration text has no tokens", value=f"sample {number}")
        samples.append(tokens)
    if not samples:
        raise InputError("there are no calibration texts", allowed="at least one", fix="raise calibration.samples")
    return samples
