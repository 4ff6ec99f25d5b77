"""Where a share of the prompts is stored: how well does a classifier tell a day's from the usual ones, by hashed features?

It sees what single histograms can't: features that go together in a new way. Kept are features; no text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from quantplay.live.drift.divergence import WIDENED
from quantplay.live.drift.features import BUCKETS, LAST_LENGTH, Features
from quantplay.live.drift.fingerprint import Array
from quantplay.live.drift.languages import LANGUAGES
from quantplay.live.drift.usual import CHANCE

KEPT = 128  # prompts of a day, of every day as many, so that one day's score is as certain as another's
FEWEST = 40  # of a day, from which it is scored
FEWEST_DAYS = 7
FOLDS = 5
RIDGE = 10.0
Row = tuple[int, ...]
"""Length, language, form, then the hashed marks of one prompt."""
FORMS = 8
WIDTH = BUCKETS + len(LANGUAGES) + FORMS + 2


def row_of(features: Features) -> Row:
    return (features.words, features.language, features.form, *features.marks)


def matrix(rows: Sequence[Row]) -> Array:
    """(rows, WIDTH): square roots of counts, indicators, length, one."""
    found = np.zeros((len(rows), WIDTH))
    for out, (words, language, form, *marks) in zip(found, rows, strict=True):
        out[:BUCKETS] = np.sqrt(np.bincount(marks, minlength=BUCKETS)) if marks else 0
        out[BUCKETS + language] = out[BUCKETS + len(LANGUAGES) + form] = out[-1] = 1
        out[-2] = words / LAST_LENGTH
    return found


def separation(ours: Sequence[Row], theirs: Sequence[Row], seed: int = 0) -> float:
    """Cross-validated area under the ROC curve of a ridge classifier: 0.5 can't tell them apart, 1 always can.

    Each class weighs the same (Hoerl and Kennard 1970 for the ridge). Same input, same answer.
    """
    features = np.concatenate([matrix(ours), matrix(theirs)])
    labels = np.concatenate([np.ones(len(ours)), np.zeros(len(theirs))])
    weights = np.where(labels == 1, 0.5 / len(ours), 0.5 / len(theirs)) * len(labels)
    dice = np.random.default_rng(seed)
    fold = np.concatenate([dice.permutation(len(ours)) % FOLDS, dice.permutation(len(theirs)) % FOLDS])
    found = []
    for each in range(FOLDS):
        learn, test = fold != each, fold == each
        weighted = features[learn] * weights[learn, None]
        slope = np.linalg.solve(
            weighted.T @ features[learn] + RIDGE * np.eye(WIDTH), weighted.T @ (labels[learn] - 0.5)
        )
        found.append(area(features[test] @ slope, labels[test]))
    return float(np.mean(found))


def area(scores: Array, labels: Array) -> float:
    """Chance that a one scores above a zero, ties half (Mann and Whitney 1947)."""
    _, place, counts = np.unique(np.round(scores, 12), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ones, zeros = labels.sum(), (1 - labels).sum()
    return float((ranks[labels == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def told_apart(day: Sequence[Row], usual: Sequence[Sequence[Row]]) -> tuple[float, float] | None:
    """(score of `day`, limit): each usual day's score against the others says how far one more may be. None where there are too few."""
    days = [one for one in usual if len(one) >= FEWEST]
    if len(day) < FEWEST or len(days) < FEWEST_DAYS:
        return None
    scores = [separation(one, flat(days[:at] + days[at + 1 :])) for at, one in enumerate(days)]
    spread = np.std(scores, ddof=1) * np.sqrt(WIDENED * (1 + 1 / len(days)))
    return separation(day, flat(days)), float(np.mean(scores) + stdtrit(len(days) - 1, 1 - CHANCE) * spread)


def flat(days: Sequence[Sequence[Row]]) -> list[Row]:
    return [row for day in days for row in day]
