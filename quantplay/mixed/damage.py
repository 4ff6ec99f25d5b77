"""How isolated damages combine in a whole mix.

Let d(g, t) be the damage of group g alone as type t. Small damages add up. Large ones do not, and what a group costs among damaged
neighbours differs from what it costs alone: its gain from being restored in the all-low model, over its damage alone as that low
type, is its ratio r(g). With

    S = sum over groups of c(g) * d(g, t(g)) * r(g)**weight      D = scale * S * (1 + S / turn)**curve

the damage D rises with S, so the mix of least S is the mix of least D, and allocation stays a sum. `weight` and `curve` come from
the all-low model and its restored neighbours (which lie on the calibration text, where scale is 1); `scale` and the corrections
c(g) from whole mixes that were measured. All are fitted together by least squares on logarithms, held to priors: few mixes must not
move what many measurements say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantplay.mixed.allocate import Option, Options
from quantplay.records.mix import DamageFit, GroupOptions

SMALLEST = 1e-9  # nats; what is measured below it counts as this much
RATIOS = (0.1, 10.0)  # a ratio beyond has more noise than meaning
PRIORS = {"log_scale": 1.0, "curve": 0.5, "weight": 0.5, "correction": 0.2}  # standard deviations around 0, 0, 1/2, 0
OFF = {"anchor": 0.05, "mix": 0.03}  # how far the formula itself is expected to be off, relative, beside the noise
TURN_SHARE = 0.25  # of the summed damage of the all-low model


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """The all-low model on the calibration text."""

    nats: float
    se: float


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A whole mix that was measured."""

    mix: Mapping[str, str]
    nats: float
    se: float


def first_fit(groups: Sequence[GroupOptions]) -> DamageFit:
    """Damages that simply add up."""
    total = sum(damage(group, group.base) for group in groups)
    return DamageFit(
        scale=1.0, turn_nats=max(SMALLEST, TURN_SHARE * total), curve=0.0, weight=0.5,
        corrections={group.group: 1.0 for group in groups}, error=1.0,
    )  # fmt: skip


def fit_damage(groups: Sequence[GroupOptions], anchor: Anchor, seen: Sequence[Seen]) -> DamageFit:
    """The model of this page, fitted to the anchor, its restored neighbours and the mixes measured so far."""
    from scipy.optimize import least_squares

    start = first_fit(groups)
    alone_low = np.array([damage(group, group.base) for group in groups])
    log_ratios = np.log([ratio(group) for group in groups])
    turn = start.turn_nats
    gains = [(index, group.gain_nats) for index, group in enumerate(groups) if group.gain_nats is not None]
    rows = np.array([[damage(group, one.mix[group.group]) for group in groups] for one in seen]).reshape(-1, len(groups))
    measured = np.log([max(SMALLEST, one.nats) for one in seen])
    spread = np.array([math.hypot(OFF["mix"], one.se / max(SMALLEST, one.nats) * SHARED_NOISE) for one in seen])

    def combined(sums: np.ndarray, curve: float) -> np.ndarray:
        return np.log(sums) + curve * np.log1p(sums / turn)

    def residuals(parameters: np.ndarray) -> np.ndarray:
        log_scale, curve, weight, *logs = parameters
        factors = np.exp(np.array(logs) + weight * log_ratios)
        low = factors * alone_low
        total = low.sum()
        found = [
            (combined(total, curve) - math.log(anchor.nats)) / math.hypot(OFF["anchor"], anchor.se / anchor.nats),
            *(
                (math.exp(combined(total, curve)) - math.exp(combined(max(SMALLEST, total - low[index]), curve)) - gain)
                / (GAIN_SHARE * anchor.nats / len(groups) + abs(gain) * 0.5)
                for index, gain in gains
            ),
            *((log_scale + combined(rows @ factors, curve) - measured) / spread if len(rows) else ()),
            log_scale / PRIORS["log_scale"], curve / PRIORS["curve"], (weight - start.weight) / PRIORS["weight"],
            *(np.array(logs) / PRIORS["correction"]),
        ]  # fmt: skip
        return np.array(found)

    answer = least_squares(residuals, np.array([0.0, 0.0, start.weight, *([0.0] * len(groups))]))
    log_scale, curve, weight, *logs = (float(value) for value in answer.x)
    return DamageFit(
        scale=math.exp(log_scale), turn_nats=turn, curve=curve, weight=weight,
        corrections={group.group: math.exp(log) for group, log in zip(groups, logs, strict=True)}, error=1.0,
    )  # fmt: skip


SHARED_NOISE = 0.3  # mixes are measured on the same text, so most of their noise is common and goes into the scale
GAIN_SHARE = 0.5


def damage(group: GroupOptions, kind: str) -> float:
    return max(SMALLEST, next(option.damage_nats for option in group.types if option.kind == kind))


def ratio(group: GroupOptions) -> float:
    """What the group costs among damaged neighbours over what it costs alone."""
    if group.gain_nats is None:
        return 1.0
    return min(RATIOS[1], max(RATIOS[0], group.gain_nats / damage(group, group.base)))


def costs(groups: Sequence[GroupOptions], fit: DamageFit) -> Options:
    """What allocation adds up: bytes, and the terms of S."""
    return {
        group.group: [
            Option(kind=option.kind, bytes=option.stored_bytes, cost=fit.corrections[group.group]
                   * damage(group, option.kind) * ratio(group) ** fit.weight)
            for option in group.types
        ]
        for group in groups
    }  # fmt: skip


def predict(groups: Sequence[GroupOptions], fit: DamageFit, mix: Mapping[str, str]) -> float:
    """Divergence of `mix` on the measuring text, nats a position."""
    table = costs(groups, fit)
    total = sum(next(one.cost for one in table[name] if one.kind == kind) for name, kind in mix.items())
    return fit.scale * total * (1 + total / fit.turn_nats) ** fit.curve
