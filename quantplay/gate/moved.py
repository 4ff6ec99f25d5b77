"""Signs that results moved as a whole, far too small for the gate's bounds to see. They alarm and never decide alone.

Every limit stands well above what another thread count, batch or instruction set does to the same bytes (docs/revalidation.md has the
measurements), and well below what a wrong kernel or another cache type does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from quantplay.gate.pairing import Pair
from quantplay.records import Alarm, Evaluation, NoiseFloor

ANSWERS_SHARE = 0.01  # of all answers; or twice the noise floor, where that is more
DIVERGENCE_SHARE = 0.02  # of the locked mean divergence
DIVERGENCE_NATS = 5e-5
PERPLEXITY_LOG = 1e-3
SIGN_LEVEL = 1e-3
LOSS_NATS = 1e-3
SLOWER = 1.5  # against full precision measured in the same session, so that a busy machine slows both


def moved(then: Evaluation, now: Evaluation, floor: NoiseFloor, pairs: Sequence[Pair]) -> Iterator[Alarm]:
    """What a look is due at; names of moved results begin with "moved"."""
    yield from moved_answers(floor, pairs)
    yield from moved_divergence(then, now)
    yield from moved_losses(then, now)
    yield from moved_speed(then, now)


def moved_answers(floor: NoiseFloor, pairs: Sequence[Pair]) -> Iterator[Alarm]:
    if not pairs:
        return
    share = sum(pair.source.response != pair.candidate.response for pair in pairs) / len(pairs)
    limit = max(ANSWERS_SHARE, 2 * floor.flip_rate)
    if share > limit:
        yield Alarm(
            name="moved: answers", value=share, limit=limit, unit="share",
            text=f"{share:.1%} of the answers are worded differently than when the package was locked; "
            f"a look is due above {limit:.1%}.",
        )  # fmt: skip


def moved_divergence(then: Evaluation, now: Evaluation) -> Iterator[Alarm]:
    before, after = then.divergence, now.divergence
    limit = max(DIVERGENCE_NATS, DIVERGENCE_SHARE * before.mean_kl_nats)
    rise = after.mean_kl_nats - before.mean_kl_nats
    if abs(rise) > limit:
        yield Alarm(
            name="moved: divergence", value=rise, limit=limit, unit="nats",
            text=f"The mean KL divergence from full precision was {before.mean_kl_nats:.4g} nats a token when the package was "
            f"locked and is {after.mean_kl_nats:.4g} today.",
        )  # fmt: skip
    for who, old, new in (
        ("full precision", before.perplexity_reference, after.perplexity_reference),
        ("the candidate", before.perplexity_candidate, after.perplexity_candidate),
    ):
        if abs(math.log(new / old)) > PERPLEXITY_LOG:
            yield Alarm(
                name=f"moved: perplexity of {who}", value=new / old, limit=1 + PERPLEXITY_LOG, unit="ratio",
                text=f"Perplexity of {who} on the held-out text was {old:.5g} when the package was locked and is {new:.5g} today.",
            )  # fmt: skip


def moved_losses(then: Evaluation, now: Evaluation) -> Iterator[Alarm]:
    """A sign test: chance moves as many losses up as down."""
    before, after = then.hardest_loss_candidate, now.hardest_loss_candidate
    rises = [after[key] - before[key] for key in sorted(before.keys() & after.keys()) if after[key] != before[key]]
    if not rises:
        return
    up, mean = sum(rise > 0 for rise in rises), math.fsum(rises) / len(rises)
    if two_sided_sign_p(up, len(rises)) < SIGN_LEVEL and abs(mean) > LOSS_NATS:
        yield Alarm(
            name="moved: loss of expected answers", value=mean, limit=LOSS_NATS, unit="nats",
            text=f"On the hardest items the expected answer's loss rose in {up} of {len(rises)} cases, by {mean:+.4f} nats on average: "
            "more of one sign than chance gives.",
        )  # fmt: skip


def two_sided_sign_p(up: int, total: int) -> float:
    """Exact two-sided p of `up` of `total` under a fair coin."""
    tail = sum(math.comb(total, k) for k in range(min(up, total - up) + 1))
    return min(1.0, 2 * tail / 2**total)


def moved_speed(then: Evaluation, now: Evaluation) -> Iterator[Alarm]:
    def ratio(one: Evaluation) -> float:
        return one.performance.time_per_token_ms.p50 / one.reference_performance.time_per_token_ms.p50

    slower = ratio(now) / ratio(then)
    if slower > SLOWER:
        yield Alarm(
            name="slower", value=slower, limit=SLOWER, unit="ratio",
            text=f"Against full precision in the same session, a token takes {slower:.2f} times as long as when the package was locked.",
        )  # fmt: skip
