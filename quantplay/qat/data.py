"""Training texts: checked for leaks, cut, packed into rows; the same order for the same seed, whatever happened in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.calibration.overlap import near_copies_in_texts, prompts_in_texts
from quantplay.errors import Fault, InputError
from quantplay.evalset import EvalItem, TextSample, read_texts

DEV_ROWS_MOST = 48  # rows of dev text, taken evenly from all of it: it is measured at every checkpoint
OPEN_ROWS = 32  # rows that may still take a text while packing
NAMED = 10  # overlaps an error names


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Texts packed into rows. Arrays of shape (rows, row_tokens)."""

    tokens: np.ndarray  # int64; 0 where a row is not full
    positions: np.ndarray  # int64: of the token in its text; starting again at 0 is what keeps texts of one row apart
    counted: np.ndarray  # bool: what is predicted here counts
    labels: np.ndarray  # int64: the token that follows in the same text, -1 where there is none

    def __len__(self) -> int:
        return len(self.tokens)

    def part(self, rows: slice | np.ndarray) -> Packed:
        return Packed(
            tokens=self.tokens[rows],
            positions=self.positions[rows],
            counted=self.counted[rows],
            labels=self.labels[rows],
        )


@dataclass(frozen=True)
class TextTokens:
    """One text as tokens; predictions count from position `start` on."""

    tokens: list[int]
    start: int = 0
    end: int = -1  # the token that ends a text, where it is known to end here


def leaks_of(
    samples: Sequence[TextSample], evaluation: Mapping[str, Sequence[EvalItem]], heldout: Sequence[TextSample] = ()
) -> list[Fault]:
    """One fault a set whose prompts stand in the training texts, whole or with a few words changed.

    evaluation: split -> items. The rules are those of calibration sets (quantplay.calibration.overlap). No waiver is known for
    them: a model trained on a question is not tested by it.
    """
    texts = [(sample.id, sample.text) for sample in samples]
    sets = {name: [(item.id, item.document, item.prompt) for item in items] for name, items in evaluation.items()}
    sets["held-out text"] = [(text.id, text.id, text.text) for text in heldout]
    faults = []
    for name, prompts in sets.items():
        found = dict(near_copies_in_texts(prompts, texts))
        found |= dict(prompts_in_texts([(key, prompt) for key, _, prompt in prompts], texts))
        if found:
            some = ", ".join(f"{one} in {other}" for one, other in list(found.items())[:NAMED])
            what = f"{len(found):,} of its texts stand in training texts, whole or nearly"
            fix = "remove these training texts: what was trained on is no test"
            faults.append(Fault(where=name, what=what, value=some, allowed="none", fix=fix))
    return faults


def training_texts(
    file: Path, evaluation: Mapping[str, Sequence[EvalItem]], heldout: Sequence[TextSample] = ()
) -> tuple[TextSample, ...]:
    """The texts of a JSONL file with `id` and `text`. Raises InputError where it can't be read, is empty or holds what is asked."""
    samples = read_texts(file)
    if not samples:
        raise InputError("there are no training texts", value=file, allowed="one JSON object a line, with id and text")
    if faults := leaks_of(samples, evaluation, heldout):
        raise InputError("the training texts hold what the model is tested with", faults=faults)
    return samples


def text_tokens(tokenizer: Any, texts: Sequence[str], row_tokens: int) -> list[TextTokens]:
    """Each text from an empty context, cut after `row_tokens` tokens; texts without tokens are left out."""
    found = tokenizer(list(texts), truncation=True, max_length=row_tokens)["input_ids"]
    end = getattr(tokenizer, "eos_token_id", None)
    return [
        TextTokens(list(tokens), end=end if end is not None and len(tokens) < row_tokens else -1)
        for tokens in found
        if len(tokens) > 1
    ]


def answer_tokens(tokenizer: Any, items: Sequence[EvalItem], row_tokens: int) -> list[TextTokens]:
    """Prompts with their expected answers; only the positions that predict the answer count."""
    found = []
    prompts = tokenizer([item.prompt for item in items])["input_ids"]
    wholes = tokenizer([item.prompt + item.following(item.answer) for item in items])["input_ids"]
    for prompt, whole in zip(prompts, wholes, strict=True):
        shared = next(
            (at for at, (one, other) in enumerate(zip(prompt, whole, strict=False)) if one != other), len(prompt)
        )
        if shared < len(whole) <= row_tokens:
            found.append(TextTokens(list(whole), max(0, shared - 1)))
    return found


def dev_text(tokenizer: Any, items: Sequence[EvalItem], row_tokens: int) -> Packed:
    """The dev split packed, or an even part of it that fills `DEV_ROWS_MOST` rows. Raises InputError where none fits a row."""
    sequences = answer_tokens(tokenizer, items, row_tokens)
    if not sequences:
        raise InputError(
            "no item of the dev split fits a row, so no checkpoint can be chosen", value=f"rows of {row_tokens} tokens",
            fix="raise training.row_tokens",
        )  # fmt: skip
    rows = len(pack(sequences, row_tokens))
    return pack(sequences[:: -(-rows // DEV_ROWS_MOST)], row_tokens)


def pack(sequences: Sequence[TextTokens], row_tokens: int) -> Packed:
    """Rows in the order in which they were begun; every text goes into the first row that has room for it."""
    rows: list[list[TextTokens]] = []
    room: list[int] = []
    first_open = 0
    for sequence in sequences:
        while len(rows) - first_open > OPEN_ROWS:
            first_open += 1
        at = next((row for row in range(first_open, len(rows)) if room[row] >= len(sequence.tokens)), None)
        if at is None:
            at = len(rows)
            rows.append([])
            room.append(row_tokens)
        rows[at].append(sequence)
        room[at] -= len(sequence.tokens)
    shape = (len(rows), row_tokens)
    packed = Packed(
        tokens=np.zeros(shape, np.int64), positions=np.zeros(shape, np.int64), counted=np.zeros(shape, np.bool_),
        labels=np.full(shape, -1, np.int64),
    )  # fmt: skip
    for number, row in enumerate(rows):
        at = 0
        for sequence in row:
            end = at + len(sequence.tokens)
            packed.tokens[number, at:end] = sequence.tokens
            packed.positions[number, at:end] = np.arange(end - at)
            packed.counted[number, at + sequence.start : end] = True
            packed.labels[number, at:end] = [*sequence.tokens[1:], sequence.end]
            at = end
        packed.positions[number, at:] = np.arange(
            row_tokens - at
        )  # what is left over is a text of its own that counts nowhere
    return packed


def batches(sequences: Sequence[TextTokens], *, rows: int, row_tokens: int, seed: int, start: int) -> Iterator[Packed]:
    """The batch of step `start`, of the next one, and so on without end: texts shuffled anew every time through.

    What a step sees depends on its number and the seed alone, so a run that was killed goes on with the same batches.
    """
    number, epoch = 0, 0
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(len(sequences))
        packed = pack([sequences[index] for index in order], row_tokens)
        whole = max(1, len(packed) // rows)
        for batch in range(max(0, start - number), whole):
            yield packed.part(slice(batch * rows, (batch + 1) * rows))
        number, epoch = number + whole, epoch + 1
        start = max(start, number)
