"""The vectorised core: counts of many months at once in, e-processes and alarms out. The judge calls it with a batch of one.

A row is one thing that is watched: first every signal compared between the arms, then every signal with a ceiling of its own. Each row has
two detectors: since the launch, and for what changes later summed over restarts (quantplay.stats.eprocess), hourly for the comparison of the
arms, every minute for a ceiling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantplay.live.counts import BASELINE, CANDIDATE, Looks
from quantplay.live.rules import FLOOR_RESTART_SECONDS, LiveRules, LiveSignal
from quantplay.stats.eprocess import follow, follow_restarting, log_mean, restart
from quantplay.stats.rate_ratios import limit_steps, odds_of, ratio_steps

Array = NDArray[np.float64]
Kind = Literal["launch", "change"]
KINDS: tuple[Kind, ...] = ("launch", "change")
RATIOS = np.array([1.2, 1.4, 2.5])  # alternatives, as multiples of the tolerated ratio: measured, docs/live-judge.md
ODDS = np.array([1.2, 1.8, 4.0])  # alternatives to a ceiling, as multiples of its odds
QUIET = np.log(
    20.0
)  # a sum over restarts below this has seen nothing: the window of counts shown with an alarm starts anew


@dataclass(frozen=True, kw_only=True)
class Detectors:
    """Rules as arrays: S signals compared, F of them with a ceiling, R = S + F rows, J alternatives."""

    relative: tuple[LiveSignal, ...]
    floors: tuple[int, ...]  # places of signals with a ceiling
    tolerated: Array  # (S,)
    ratios: Array  # (S, J)
    limits: Array  # (F,)
    rates: Array  # (F, J)
    negligible: float
    log_thresholds: Array  # (2, R): launch, change

    @property
    def rows(self) -> int:
        return len(self.relative) + len(self.floors)

    def signal(self, row: int) -> int:
        """Place of the signal a row watches."""
        return row if row < len(self.relative) else self.floors[row - len(self.relative)]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known so far; B months at once."""

    logs: Array  # (B, 2, R, J): logarithms of the products since the launch, and of the sums over restarts
    since_launch: Array  # (B, S, 2, 2): conversations and events, an arm
    window: Array  # (B, S, 2, 2): the same since the sum over restarts last was quiet


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """A detector at its threshold."""

    month: int  # place in the batch
    row: int
    kind: Kind
    look: int
    log_e: float


@dataclass(frozen=True, kw_only=True)
class Advanced:
    """What a block of looks did."""

    evidence: Evidence  # after its last look
    crossings: tuple[Crossing, ...]  # the first of each detector, by look; floors before signals


@lru_cache(maxsize=64)
def _of_body(body: str) -> Detectors:
    rules = LiveRules.model_validate_json(body)
    tolerated = np.array([rules.tolerated(name) if name != "slow_decode" else 1.0 for name in rules.relative])
    limits = np.array([limit for _, limit in rules.floors], dtype=np.float64)
    return Detectors(
        relative=rules.relative,
        floors=tuple(rules.relative.index(name) for name, _ in rules.floors),
        tolerated=tolerated,
        ratios=tolerated[:, None] * RATIOS,
        limits=limits,
        rates=odds_of(limits, ODDS),
        negligible=rules.limits.negligible,
        log_thresholds=np.array(
            [
                [rules.log_threshold(kind, floor=floor) for floor in (False,) * len(tolerated) + (True,) * len(limits)]
                for kind in KINDS
            ]
        ),
    )


def detectors_of(rules: LiveRules) -> Detectors:
    return _of_body(rules.model_dump_json())


def nothing_yet(detectors: Detectors, months: int = 1) -> Evidence:
    """The evidence at the launch; every sum over restarts begins with a product of its own."""
    counts = np.zeros((months, len(detectors.relative), 2, 2))
    return Evidence(logs=np.zeros((months, 2, detectors.rows, len(RATIOS))), since_launch=counts, window=counts.copy())


def advance(
    detectors: Detectors, evidence: Evidence, looks: Looks, *, compared: Looks | None = None, restarts: int = 0
) -> Advanced:
    """T looks further, then `restarts` new products in the sums that compare the arms.

    `looks`: events (B, S, 2, T), exposure (B, 2, T) or (B, S, 2, T); B may be 1 in exposure where the months share it. `compared`: the
    same counts pooled into larger looks, for the comparison of the arms.
    """
    raw, compared = _by_signal(looks), _by_signal(compared or looks)
    steps = np.concatenate(
        [
            ratio_steps(
                compared.events[:, :, CANDIDATE], compared.events[:, :, BASELINE],
                compared.exposure[:, :, CANDIDATE], compared.exposure[:, :, BASELINE],
                tolerated=detectors.tolerated, alternatives=detectors.ratios,
            ),
            limit_steps(
                raw.events[:, detectors.floors, CANDIDATE],
                np.broadcast_to(raw.exposure, (*raw.exposure.shape[:1], len(detectors.relative), *raw.exposure.shape[2:]))[
                    :, detectors.floors, CANDIDATE
                ],
                limit=detectors.limits, alternatives=detectors.rates,
            ),
        ],
        axis=1,
    )  # fmt: skip
    order = len(detectors.relative)
    changes = evidence.logs[:, 1]
    paths = [
        follow(evidence.logs[:, 0], steps),
        np.concatenate(
            [
                follow(changes[:, :order], steps[:, :order]),
                follow_restarting(changes[:, order:], steps[:, order:], raw.seconds / FLOOR_RESTART_SECONDS),
            ],
            axis=1,
        ),
    ]
    crossings = [
        crossing for kind, path in enumerate(paths) for crossing in _crossings(detectors, kind, path, evidence, raw)
    ]
    crossings.sort(key=lambda one: (one.look, one.row < order, one.row, one.kind != "launch"))
    logs = np.stack([path[..., -1] for path in paths], axis=1) if steps.shape[-1] else evidence.logs.copy()
    added = np.stack(
        [np.broadcast_to(raw.exposure.sum(axis=-1), raw.events.shape[:-1]), raw.events.sum(axis=-1)], axis=-1
    )
    window = evidence.window + added
    if restarts:
        quiet = log_mean(logs[:, 1, :order], axis=-1) < QUIET
        window = np.where(quiet[..., None, None], 0.0, window)
        logs[:, 1, :order] = restart(logs[:, 1, :order], restarts)
    after = Evidence(logs=logs, since_launch=evidence.since_launch + added, window=window)
    return Advanced(evidence=after, crossings=tuple(crossings))


def levels(evidence: Evidence) -> Array:
    """Logarithms of the e-values (B, 2, R): launch, change."""
    return log_mean(evidence.logs, axis=-1)


def _by_signal(looks: Looks) -> Looks:
    return looks if looks.exposure.ndim == looks.events.ndim else replace(looks, exposure=looks.exposure[:, None])


def _crossings(detectors: Detectors, kind: int, path: Array, evidence: Evidence, raw: Looks) -> Iterator[Crossing]:
    """First look of every detector at its threshold; a rate that is negligible on the candidate never counts as worse."""
    if not path.shape[-1]:
        return
    thresholds = detectors.log_thresholds[kind]
    counts = (evidence.since_launch, evidence.window)[kind]
    for month, row in np.argwhere(path.max(axis=(-2, -1)) >= thresholds):  # a mixture is never above its largest part
        levels_ = log_mean(path[month, row], axis=0)
        above = levels_ >= thresholds[row]
        if row < len(detectors.relative):
            exposure = np.broadcast_to(raw.exposure, raw.events.shape)[month, row, CANDIDATE]
            conversations = counts[month, row, CANDIDATE, 0] + np.cumsum(exposure)
            events = counts[month, row, CANDIDATE, 1] + np.cumsum(raw.events[month, row, CANDIDATE])
            above &= events > detectors.negligible * conversations
        if above.any():
            look = int(above.argmax())
            yield Crossing(month=int(month), row=int(row), kind=KINDS[kind], look=look, log_e=float(levels_[look]))
