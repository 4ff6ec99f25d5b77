"""Simulated traffic for the live judge: counts of many months at once, an hour after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from quantplay.live.counts import Looks
from quantplay.live.detectors import Crossing, Detectors, Evidence, advance, nothing_yet

Array = NDArray[np.float64]
HOUR = 3600
DAY = 24
MONTH = 30 * DAY  # hours
RATES = (0.005, 0.02, 0.02, 0.01, 0.02, 0.002)  # errors ... answers by the other model, a conversation
RAMP = ((0, 0.05), (2, 0.1), (4, 0.25), (7, 0.5), (12, 0.95))  # from this day on, this share


@dataclass(frozen=True, kw_only=True)
class World:
    """Traffic and rates; the candidate's rates are `ratio` times full precision's from `change_hour` on."""

    name: str
    ratio: float = 1.0
    change_hour: int = 0
    look_seconds: int = 300
    conversations_a_second: float = 10.0
    share: float = 0.1
    rates: tuple[float, ...] = RATES
    hours: int = MONTH
    day_and_night: bool = False
    shocks: bool = False  # stretches of one to three hours with four times the rates, for both arms
    ramp: bool = False
    late_minutes: float = 0.0  # mean delay of an event after its conversation
    heavy_users: bool = False  # pinned to an arm: each month's arms differ though no model is worse
    signals: tuple[int, ...] = field(default=())  # that the ratio strikes; empty: all

    @property
    def looks_an_hour(self) -> int:
        return HOUR // self.look_seconds


def exposures(world: World) -> Array:
    """Conversations of candidate and baseline, shape (2, looks); the same in every month of a batch."""
    looks = world.hours * world.looks_an_hour
    hours = np.arange(looks) / world.looks_an_hour
    total = np.full(looks, world.conversations_a_second * world.look_seconds)
    if world.day_and_night:
        total = total * (1 + 0.8 * np.sin(2 * math.pi * hours / DAY))
    share = np.full(looks, world.share)
    if world.ramp:
        for day, weight in RAMP:
            share[hours >= day * DAY] = weight
    return np.rint(np.stack([total * share, total * (1 - share)]))


def intensities(world: World, exposure: Array, rng: np.random.Generator) -> Array:
    """Expected events of both arms were the models equal, shape (S, 2, looks); the same in every month of a batch."""
    looks = exposure.shape[-1]
    hours = np.arange(looks) / world.looks_an_hour
    swing = np.ones((len(world.rates), looks))
    if world.day_and_night:
        swing = swing * (1 + 0.5 * np.sin(2 * math.pi * (hours / DAY + rng.random((len(world.rates), 1)))))
    if world.shocks:
        shocked = np.zeros(
            swing.shape, dtype=bool
        )  # two that meet are one: 16 times the rates would truly be above the ceilings
        for row in shocked:
            for start in rng.integers(0, looks, 12):
                row[start : start + int(rng.integers(1, 4) * world.looks_an_hour)] = True
        swing = np.where(shocked, 4 * swing, swing)
    expected = np.array(world.rates)[:, None, None] * swing[:, None] * exposure
    if world.late_minutes:
        minutes = world.look_seconds / 60
        kernel = np.exp(-np.arange(0, 8 * world.late_minutes, minutes) / world.late_minutes)
        kernel /= kernel.sum()
        expected = np.apply_along_axis(lambda row: np.convolve(row, kernel)[:looks], -1, expected)
    return expected


def pinned_rates(months: int, rng: np.random.Generator, share: float, signals: int) -> Array:
    """Relative rates of the arms (months, S, 2) where 5,000 users with Pareto activity and habits of their own are pinned to one."""
    out = np.empty((months, signals, 2))
    for month in range(months):
        activity = np.minimum(rng.pareto(1.3, 5000) + 1, 500)
        habit = rng.gamma(2.0, 0.5, (signals, 5000))
        here = rng.random(5000) < share
        for arm, users in enumerate((here, ~here)):
            out[month, :, arm] = (habit[:, users] * activity[users]).sum(axis=1) / activity[users].sum()
    return out


@dataclass(frozen=True, kw_only=True)
class Block:
    """One hour of many months."""

    hour: int
    looks: Looks


def months_of(world: World, months: int, seed: int) -> Iterator[Block]:
    """Hours of `months` months. Counts are Poisson: wider than what one event a conversation at most can give."""
    rng = np.random.default_rng(seed)
    exposure = exposures(world)
    expected = intensities(world, exposure, rng)
    apart = pinned_rates(months, rng, world.share, len(world.rates)) if world.heavy_users else None
    struck = list(world.signals) or list(range(len(world.rates)))
    width = world.looks_an_hour
    seconds = np.full(width, float(world.look_seconds))
    for hour in range(world.hours):
        here = slice(hour * width, (hour + 1) * width)
        rate = expected[..., here].copy()
        if hour >= world.change_hour:
            rate[struck, 0] *= world.ratio
        mean = rate[None] if apart is None else rate[None] * apart[..., None]
        events = rng.poisson(np.broadcast_to(mean, (months, *rate.shape))).astype(np.float64)
        yield Block(hour=hour, looks=Looks(events=events, exposure=exposure[None, :, here], seconds=seconds))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the months of one batch ended."""

    alarms: dict[int, Crossing]  # month -> its first alarm; the look is counted from the start of the month
    evidence: Evidence  # of the months without one, in their order


def judged(detectors: Detectors, world: World, months: int, seed: int, blocks: list[Block] | None = None) -> Outcome:
    """Every month to its first alarm. `blocks`: where the counts are kept for a replay."""
    evidence, alarms = nothing_yet(detectors, months), dict[int, Crossing]()
    alive = np.arange(months)
    for block in months_of(world, months, seed):
        if blocks is not None:
            blocks.append(block)
        looks = replace(block.looks, events=block.looks.events[alive])
        step = advance(detectors, evidence, looks, restarts=1)
        evidence = step.evidence
        for crossing in step.crossings:  # by look: the first of a month counts
            month = int(alive[crossing.month])
            if month not in alarms:
                look = block.hour * world.looks_an_hour + crossing.look
                alarms[month] = replace(crossing, month=month, look=look)
        if step.crossings:
            stays = ~np.isin(alive, list(alarms))
            alive = alive[stays]
            evidence = Evidence(
                logs=evidence.logs[stays], since_launch=evidence.since_launch[stays], window=evidence.window[stays]
            )
        if not len(alive):
            break
    return Outcome(alarms=alarms, evidence=evidence)
