"""Calibration samples as the quantizer reads them: the first so many tokens, and how many there would be."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from quantplay.calibration.words import LETTER
from quantplay.evalset import TextSample

Unit = Literal["tokens", "words"]
COUNTED = 64  # characters a token that are counted at most: a longer text is a giant document however long it is
SPLIT = re.compile(rf"[{LETTER}]|[^\s{LETTER}]+")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One calibration sample."""

    id: str
    text: str
    read: str  # what the quantizer sees of it
    length: int  # of the whole text, counted up to `COUNTED` characters a token of the limit
    read_length: int


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Samples with their lengths."""

    samples: tuple[Sample, ...]
    unit: Unit  # what lengths are counted in


def counted(samples: Sequence[TextSample], tokens: int, tokenizer: Path | None) -> Counted:
    """Cut each sample to its first `tokens` tokens.

    tokenizer: a tokenizer.json. Where there is none, or the library can't load it, words stand for tokens.
    """
    spans = token_ends(tokenizer) if tokenizer is not None else None
    ends = spans or (lambda texts: [[match.end() for match in SPLIT.finditer(text)] for text in texts])
    found = ends([sample.text[: COUNTED * tokens] for sample in samples])
    return Counted(
        unit="tokens" if spans else "words",
        samples=tuple(
            Sample(
                id=sample.id,
                text=sample.text,
                read=sample.text if len(places) <= tokens else sample.text[: places[tokens - 1]],
                length=len(places),
                read_length=min(len(places), tokens),
            )
            for sample, places in zip(samples, found, strict=True)
        ),
    )


def token_ends(tokenizer: Path) -> Callable[[Sequence[str]], list[list[int]]] | None:
    """Texts -> where in the text each of their tokens ends, without special ones; None when the file can't be loaded."""
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(str(tokenizer))
    except Exception:  # noqa: BLE001 - the library raises plain Exception; the engine will say what is wrong with it
        return None
    loaded.no_truncation()
    loaded.no_padding()
    return lambda texts: [
        [end for _, end in encoding.offsets] for encoding in loaded.encode_batch(list(texts), add_special_tokens=False)
    ]
