"""Counters of two arms as a gateway would keep them, for tests of the live judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quantplay.live import ArmCounts, Policy, Snapshot
from quantplay.records import Signal
from quantplay.records.rollback_rules import SIGNALS

START = 1_700_000_000
RATES = (0.005, 0.02, 0.02, 0.01, 0.02, 0.002)
POLICY = Policy(revision=3, since=START, weight=0.1, steps=(0.1, 0.25, 0.5, 1.0))


def traffic(
    minutes: int, *, times: Mapping[Signal, float] | None = None, from_minute: int = 0, seed: int = 0, weight: float = 0.1,
    assigned: float | None = None, a_minute: int = 600, rates: Sequence[float] = RATES,
) -> list[Snapshot]:  # fmt: skip
    """A snapshot a minute. `times`: signal -> its rate on the quantized model over that on full precision, from a minute on."""
    rng, totals, found = np.random.default_rng(seed), np.zeros((2, 7), dtype=int), []
    share = weight if assigned is None else assigned
    for minute in range(1, minutes + 1):
        new = rng.poisson([a_minute * share, a_minute * (1 - share)])
        rate = np.array([rates, rates], dtype=float)
        if minute > from_minute:
            rate[0] *= [(times or {}).get(name, 1.0) for name in SIGNALS]
        totals[:, 0] += new
        totals[:, 1:] += rng.binomial(new[:, None], rate)
        found.append(snapshot(START + 60 * minute, totals.tolist(), weight=weight))
    return found


def snapshot(
    at: int,
    totals: Sequence[Sequence[int]],
    *,
    weight: float | None = 0.1,
    decode: Sequence[Mapping[int, int]] = ({}, {}),
) -> Snapshot:
    """`totals`: an arm its conversations and the six signals."""
    arms = [
        ArmCounts(conversations=arm[0], events=dict(zip(SIGNALS, arm[1:], strict=True)), decode=times)
        for arm, times in zip(totals, decode, strict=True)
    ]
    return Snapshot(at=at, revision=3, weight=weight, candidate=arms[0], baseline=arms[1])
