"""Is one kind of text most of the set? Share of the samples that are alike to one and the same sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from quantplay.calibration.samples import Sample
from quantplay.calibration.words import kinds_of, runs_of

ALIKE = 0.5  # cosine from which two samples are of one kind


@dataclass(frozen=True, kw_only=True)
class LargestGroup:
    """The sample with the most others like it, and those others."""

    centre: str  # id
    members: tuple[str, ...]  # ids, the centre first, then the most similar
    share: float  # of all samples


def largest_group(samples: Sequence[Sample]) -> LargestGroup:
    """Two samples are alike when the vectors of their two-word runs, numbers written 0, have a cosine of at least `ALIKE`.

    Weights are 1 + ln(count) (Manning, Raghavan, Schuetze, Introduction to Information Retrieval, 6.4.1). Two-word runs
    and no weighting by rarity, because what makes a set monotonous is exactly what its samples share; function words alone
    make no two texts of running prose alike this way.
    """
    cosines = similarities([Counter(two_word_runs(sample.read)) for sample in samples])
    alike = cosines >= ALIKE
    centre = int(alike.sum(axis=1).argmax())
    members = [int(other) for other in np.flatnonzero(alike[centre])]
    order = sorted(members, key=lambda other: (other != centre, -cosines[centre, other], other))
    return LargestGroup(
        centre=samples[centre].id,
        members=tuple(samples[other].id for other in order),
        share=len(order) / len(samples),
    )


def two_word_runs(text: str) -> list[tuple[str, ...]]:
    words = kinds_of(text)
    return list(pairwise(words)) or list(runs_of(words))


def similarities(counts: Sequence[Counter[tuple[str, ...]]]) -> np.ndarray:
    """Cosines of all pairs, shape (samples, samples), rounded so that a cosine on the limit is the same on every machine."""
    from scipy.sparse import csr_matrix

    numbers: dict[tuple[str, ...], int] = {}
    rows, columns, values = [], [], []
    for row, count in enumerate(counts):
        for run, times in count.items():
            rows.append(row)
            columns.append(numbers.setdefault(run, len(numbers)))
            values.append(1 + np.log(times))
    matrix = csr_matrix((values, (rows, columns)), shape=(len(counts), max(1, len(numbers))), dtype=np.float64)
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    norms[norms == 0] = 1
    products = np.asarray((matrix @ matrix.T).todense()) / norms[:, None] / norms[None, :]
    np.fill_diagonal(products, 1)
    return np.round(products, 9)
