"""Calibration text that the importance matrix has not seen, as token rows.

The matrix that ships is measured on the file's first `calibration.samples` samples. Where the file holds at least a third more,
the scan uses that matrix and the samples after it. Where it does not, the scan measures a matrix of its own on the first three
quarters of the file and takes the last quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quantplay.engines.transformers_model import load_tokenizer
from quantplay.errors import InputError

MATRIX_SHARE = 0.75
SEPARATOR = "\n"


def matrix_samples(in_file: int, samples: int) -> int:
    """How many of the file's first samples the scan's importance matrix is measured on; the others are held out."""
    return min(samples, int(in_file * MATRIX_SHARE))


def held_out_rows(model_folder: Path, texts: Sequence[str], *, sequences: int, tokens: int) -> np.ndarray:
    """At most `sequences` rows of `tokens` token ids, spread over `texts` joined and cut as for a divergence.

    The first token of each row is the begin-of-text token where the model has one. Raises InputError where the texts are too short
    for two rows.
    """
    tokenizer = load_tokenizer(model_folder)
    ids = list(tokenizer(SEPARATOR.join(texts))["input_ids"])
    count = len(ids) // tokens
    if count < 2:
        raise InputError(
            "too little calibration text is held out from the importance matrix to measure sensitivity",
            value=f"{len(ids)} tokens in {len(texts)} samples", allowed=f"at least {2 * tokens} tokens",
            fix="add calibration samples, or lower calibration.samples or mixed_precision.tokens",
        )  # fmt: skip
    rows = np.asarray(ids[: count * tokens], np.int64).reshape(count, tokens)
    if count > sequences:
        rows = rows[np.linspace(0, count - 1, sequences).round().astype(int)]
    if tokenizer.bos_token_id is not None:
        rows[:, 0] = tokenizer.bos_token_id
    return rows[np.random.default_rng(0).permutation(len(rows))]  # the first few stand for all of them
