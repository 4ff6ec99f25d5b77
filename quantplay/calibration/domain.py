"""Is the calibration set drawn from what the model is asked? A test with a stated rate of false alarms.

Statistic: Jensen-Shannon divergence (Lin 1991, "Divergence measures based on the Shannon entropy") of the two sets' hashed
word histograms. Whole texts are exchanged between the sets at random to see how large it gets when both come from one source
(a permutation test: Efron and Tibshirani 1993, chapter 15), so texts of any length and kind bring their own limit.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from quantplay.calibration.words import DIGITS, LETTER

T = TypeVar("T")
BUCKETS = 1 << 12
EXCHANGES = 999
FALSE_ALARMS = 0.01  # share of sets drawn from the very traffic that are refused
MOST_TRAFFIC = 1024  # texts of traffic compared with; more change nothing but the time
MARKS = re.compile(rf"[{LETTER}]|[^\W{LETTER}]+|[^\w\s]|\n")
"""Words, punctuation and line ends: JSON, code and prose differ in their marks as well."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Calibration set against traffic."""

    divergence: float  # bits, 0 (the same) to 1 (nothing in common)
    limit: float  # bits: `FALSE_ALARMS` of the exchanges give more
    p_value: float  # share of exchanges with at least this divergence
    unlike: tuple[int, ...]  # positions of the samples most unlike the traffic, most unlike first
    typical: tuple[str, ...]  # words that the samples have and the traffic lacks

    @property
    def differs(self) -> bool:
        return self.p_value <= FALSE_ALARMS


def drawn_from(traffic: Sequence[T], seed: int = 0) -> Sequence[T]:
    """At most `MOST_TRAFFIC` of `traffic`, drawn at random, in their order."""
    if len(traffic) <= MOST_TRAFFIC:
        return traffic
    chosen = np.random.default_rng(seed).choice(len(traffic), MOST_TRAFFIC, replace=False)
    return [traffic[index] for index in sorted(chosen)]


def compare(texts: Sequence[str], traffic: Sequence[str], seed: int = 0) -> Comparison:
    """Test whether `texts` and `traffic` have one source. Same inputs, same answer."""
    dice = np.random.default_rng(seed)
    marks = [marks_of(text) for text in (*texts, *traffic)]
    counts = np.stack([histogram(found) for found in marks])
    total, count = counts.sum(axis=0), len(texts)
    observed = divergences(counts[:count].sum(axis=0)[None], total)[0]
    drawn = np.zeros((EXCHANGES, len(counts)), dtype=np.float32)
    for row in drawn:
        row[dice.permutation(len(counts))[:count]] = 1
    # Counts of tokens stay far below 2^24, so sums in float32 are exact and the answer does not depend on the machine.
    exchanged = divergences(drawn @ counts, total)
    mine, theirs = share(counts[:count].sum(axis=0)), share(counts[count:].sum(axis=0))
    surprise = np.log(mine) - np.log(theirs)
    scores = counts[:count] @ surprise / np.maximum(1, counts[:count].sum(axis=1))
    return Comparison(
        divergence=float(observed),
        limit=float(np.quantile(exchanged, 1 - FALSE_ALARMS, method="higher")),
        p_value=float((1 + np.count_nonzero(exchanged >= observed)) / (1 + EXCHANGES)),
        unlike=tuple(int(index) for index in np.argsort(-scores, kind="stable")),
        typical=typical_words(marks[:count], mine * surprise),
    )


def marks_of(text: str) -> list[str]:
    return MARKS.findall(DIGITS.sub("0", text.casefold()))


def bucket(mark: str) -> int:
    return zlib.crc32(mark.encode()) % BUCKETS


def histogram(marks: Sequence[str]) -> np.ndarray:
    """How often each bucket occurs, shape (BUCKETS,)."""
    return np.bincount([bucket(mark) for mark in marks], minlength=BUCKETS).astype(np.float32)


def share(counts: np.ndarray) -> np.ndarray:
    """Shares of the buckets, none of them zero (half a count is added to each)."""
    return (counts + 0.5) / (counts.sum() + 0.5 * BUCKETS)


def divergences(mine: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits between each row of `mine` (rows, BUCKETS) and what it leaves of `total` (BUCKETS,).

    Rounded, so that equal divisions compare as equal whatever the order of the sum.
    """

    def half(part: np.ndarray, middle: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(part > 0, part * np.log2(part / middle), 0).sum(axis=-1)

    rest = total[None] - mine
    p = mine.astype(np.float64) / np.maximum(1, mine.sum(axis=-1, keepdims=True))
    q = rest.astype(np.float64) / np.maximum(1, rest.sum(axis=-1, keepdims=True))
    middle = (p + q) / 2
    return np.round((half(p, middle) + half(q, middle)) / 2, 9)


def typical_words(marks: Sequence[Sequence[str]], weight: np.ndarray, most: int = 5) -> tuple[str, ...]:
    """The words with the largest weight."""
    words = {mark for found in marks for mark in found if mark[0].isalpha()}
    return tuple(sorted(words, key=lambda word: (-weight[bucket(word)], word))[:most])
