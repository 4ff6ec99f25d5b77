"""Samples that say the same twice: exact copies, and near copies found by MinHash and confirmed by counting."""

from __future__ import annotations

from collections.abc import Sequence

from quantplay.calibration.samples import Sample
from quantplay.calibration.words import Run, runs_of, words_of

ALIKE = 0.7  # Jaccard similarity of the runs of three words from which two samples are near copies
PERMUTATIONS = 128
BANDS = (32, 4)
"""Bands and rows of the index: it proposes a pair of similarity s with probability 1 - (1 - s^4)^32 (Leskovec, Rajaraman,
Ullman, Mining of Massive Datasets, section 3.4): 99.98 % at 0.7. Every proposal is then measured exactly."""
SEED = 1


def copies(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """(id, id of the first sample with the same text, or the same as far as it is read) for every repeat.

    Spacing and letter case don't count.
    """
    first: dict[str, str] = {}
    found = []
    for sample in samples:
        texts = [" ".join(text.casefold().split()) for text in (sample.text, sample.read)]
        earlier = next((first[text] for text in texts if text in first), None)
        if earlier is not None:
            found.append((sample.id, earlier))
        for text in texts:
            first.setdefault(text, earlier or sample.id)
    return found


def near_copies(samples: Sequence[Sample]) -> list[tuple[str, str, float]]:
    """(id, id of an earlier sample, similarity) for every sample that is a near copy of one before it, its most similar one."""
    runs = [runs_of(words_of(sample.read)) for sample in samples]
    found = []
    for index, others in enumerate(proposals(runs)):
        measured = [(similarity(runs[index], runs[other]), -other) for other in others]
        best, other = max(measured, default=(0.0, 0))
        if best >= ALIKE:
            found.append((samples[index].id, samples[-other].id, best))
    return found


def similarity(one: frozenset[Run], other: frozenset[Run]) -> float:
    """Jaccard: shared runs over all runs."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def proposals(runs: Sequence[frozenset[Run]]) -> list[list[int]]:
    """For each set of runs the earlier ones that may be similar to it."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=PERMUTATIONS, params=BANDS)
    template = MinHash(num_perm=PERMUTATIONS, seed=SEED)
    found: list[list[int]] = []
    for number, own in enumerate(runs):
        if not own:
            found.append([])
            continue
        sketch = template.copy()
        sketch.update_batch([" ".join(run).encode() for run in own])
        found.append(sorted(other for other in index.query(sketch) if isinstance(other, int)))
        index.insert(number, sketch)
    return found
