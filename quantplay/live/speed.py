"""Live decode speed: an engine that quietly computes in full precision is slower than the package promised.

Time per output token is kept as a histogram with buckets an eighth of a doubling wide: bucket k holds times above 2^((k-1)/8) ms up to
2^(k/8) ms, the first answer of each conversation. Allowed is the ratio of the package times the rule's slack. With m the bucket under which
three quarters of full precision's answers lay before a look, an answer of full precision is slow above m, and one of the quantized
model above m moved by what is allowed, rounded up. As long as the quantized model keeps to what is allowed, it is slow at most as
often, whatever the load does to both; that is one more signal for the comparison of the arms, tolerated ratio 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from quantplay.errors import InputError, IntegrityError
from quantplay.live.counts import ARMS, Snapshot

Array = NDArray[np.float64]
BUCKETS_A_DOUBLING = 8
USUAL = 0.75  # share of full precision's answers that count as usual
LEAST_ANSWERS = 200  # of full precision, before its usual speed is known


def bucket_of(milliseconds: float) -> int:
    """Bucket of a time per output token."""
    if not (milliseconds > 0 and math.isfinite(milliseconds)):
        raise InputError("a time per token has to be above 0", value=milliseconds, allowed="milliseconds above 0")
    return math.ceil(BUCKETS_A_DOUBLING * math.log2(milliseconds))


def allowed_shift(locked_slowdown: float, slack: float) -> int:
    """Buckets the quantized model's times may lie above full precision's; negative where it promised to be faster."""
    return math.ceil(BUCKETS_A_DOUBLING * math.log2(locked_slowdown * slack) - 1e-9)


def usual(answers: Mapping[int, int]) -> int | None:
    """The bucket up to which `USUAL` of the answers lie; None where they are too few to say."""
    total = sum(answers.values())
    if total < LEAST_ANSWERS:
        return None
    below = 0
    for bucket in sorted(answers):
        below += answers[bucket]
        if below >= USUAL * total:
            return bucket
    raise AssertionError("a histogram's parts are its whole")


def slow_decode(
    before: Sequence[Mapping[int, int]], fresh: Sequence[Snapshot], shift: int
) -> tuple[Array, list[dict[int, int]]]:
    """Answers measured and slow ones of each look, shape (2 for measured and slow, 2 arms, T), and the histograms at the end.

    `before`: histograms of candidate and baseline where the looks begin. A look before the usual speed is known is empty.
    """
    counts, stood = np.zeros((2, 2, len(fresh))), [dict(arm) for arm in before]
    for t, snapshot in enumerate(fresh):
        limit = usual(stood[1])
        for arm, now in enumerate((snapshot.candidate.decode, snapshot.baseline.decode)):
            rise = {bucket: now.get(bucket, 0) - stood[arm].get(bucket, 0) for bucket in {*now, *stood[arm]}}
            if any(change < 0 for change in rise.values()):
                raise IntegrityError(
                    "the histogram of decode speed went backwards",
                    value=f"second {snapshot.at}, {ARMS[arm]}",
                    fix="a gateway lost its counters: start a new revision",
                )
            if limit is not None:
                edge = limit + (shift if arm == 0 else 0)
                counts[:, arm, t] = sum(rise.values()), sum(n for bucket, n in rise.items() if bucket > edge)
            stood[arm] = dict(now)
    return counts, stood
