"""How isolated damages combine in a whole mix.

Let d(g, t) be the damage of group g alone as type t. Damages nearly add up; what is left over has two causes. Among damaged
neighbours a group costs more or less than alone: its gain from being restored in the all-low model, over its damage alone as that
low type, is its ratio r(g). And damages interpolated between two types are off, by type more than by group. With

    S = sum over groups of c(g) * k(t) * r(g)**weight * d(g, t)      D = scale * S * (1 + S / turn)**curve

times `optimism` for a mix that was chosen because it looks good: it holds the options whose damage was guessed too low. For given
parameters D rises with S, so the mix of least S is the mix of least D, and allocation stays a sum. k is 1 for measured damages.
`curve` comes from the all-low model, and all of them, with `scale` (the text that mixes are measured on over the calibration
text), from whole mixes that were measured: least squares on logarithms, held to priors, since a few
mixes must not move what many measurements say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantplay.mixed.allocate import Option, Options, cost_of
from quantplay.records.mix import DamageFit, GroupOptions, TypeOption

SMALLEST = 1e-9  # nats; what is measured below it counts as this much
RATIOS = (1 / 3, 3.0)  # a ratio beyond has more noise than meaning
WEIGHT = 0.1  # of the ratio, before anything is known
OPTIMISM = 0.2  # logarithm, before anything is known
PRIORS = {
    "log_scale": 1.0,
    "optimism": 0.2,
    "curve": 0.3,
    "weight": 0.2,
    "group": 0.15,
    "type": 0.25,
}  # standard deviations
OFF = {"anchor": 0.1, "mix": 0.03}  # how far the formula itself is expected to be off, relative
SHARED_NOISE = 0.3  # mixes are measured on the same text, so most of their noise is common and goes into the scale
SCALARS = 4
TURN_SHARE = 0.25  # of the summed damage of the all-low model


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """The all-low model, on the calibration text."""

    nats: float
    se: float


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A whole mix that was measured."""

    mix: Mapping[str, str]
    nats: float
    se: float
    allocated: bool  # chosen because it looked good


@dataclass(frozen=True)
class Terms:
    """What the parameters multiply, for some mixes: arrays of (mixes, groups), kinds as indices into `kinds`."""

    alone: np.ndarray
    kind: np.ndarray  # -1: measured, so nothing to correct
    log_ratios: np.ndarray  # (groups,)


def fit_damage(groups: Sequence[GroupOptions], anchor: Anchor, seen: Sequence[Seen]) -> DamageFit:
    """The model of this page, fitted to the all-low model and to the mixes measured so far."""
    from scipy.optimize import least_squares

    kinds = sorted({option.kind for group in groups for option in group.types if not option.measured})
    low = terms(groups, kinds, [{group.group: group.base for group in groups}])
    whole = terms(groups, kinds, [one.mix for one in seen])
    turn = max(SMALLEST, TURN_SHARE * float(low.alone.sum()))
    measured = np.log([max(SMALLEST, one.nats) for one in seen])
    allocated = np.array([float(one.allocated) for one in seen])
    spread = np.array([math.hypot(OFF["mix"], SHARED_NOISE * one.se / max(SMALLEST, one.nats)) for one in seen])
    low_spread = math.hypot(OFF["anchor"], anchor.se / max(SMALLEST, anchor.nats))

    def log_damage(part: Terms, curve: float, weight: float, by_group: np.ndarray, by_kind: np.ndarray) -> np.ndarray:
        logs = by_group + weight * part.log_ratios + np.append(by_kind, 0.0)[part.kind]
        sums = (part.alone * np.exp(logs)).sum(axis=1)
        return np.log(sums) + curve * np.log1p(sums / turn)

    def residuals(parameters: np.ndarray) -> np.ndarray:
        log_scale, optimism, curve, weight = parameters[:SCALARS]
        by_group, by_kind = np.split(parameters[SCALARS:], [len(groups)])
        rest = (curve, weight, by_group, by_kind)
        return np.concatenate([
            (log_damage(low, *rest) - math.log(max(SMALLEST, anchor.nats))) / low_spread,
            (log_scale + optimism * allocated + log_damage(whole, *rest) - measured) / spread if len(seen) else [],
            [log_scale / PRIORS["log_scale"], (optimism - OPTIMISM) / PRIORS["optimism"]],
            [curve / PRIORS["curve"], (weight - WEIGHT) / PRIORS["weight"]],
            by_group / PRIORS["group"],
            by_kind / PRIORS["type"],
        ])  # fmt: skip

    start = np.array([0.0, OPTIMISM, 0.0, WEIGHT, *[0.0] * (len(groups) + len(kinds))])
    log_scale, optimism, curve, weight, *logs = (float(value) for value in least_squares(residuals, start).x)
    factors = [math.exp(log) for log in logs]
    return DamageFit(
        scale=math.exp(log_scale), optimism=math.exp(optimism), turn_nats=turn, curve=curve, weight=weight,
        groups={group.group: factor for group, factor in zip(groups, factors, strict=False)},
        types=dict(zip(kinds, factors[len(groups) :], strict=True)), error=None,
    )  # fmt: skip


def terms(groups: Sequence[GroupOptions], kinds: Sequence[str], mixes: Sequence[Mapping[str, str]]) -> Terms:
    shape = (len(mixes), len(groups))
    options = [option_of(group, mix[group.group]) for mix in mixes for group in groups]
    return Terms(
        np.array([max(SMALLEST, option.damage_nats) for option in options]).reshape(shape),
        np.array([-1 if option.measured else kinds.index(option.kind) for option in options], int).reshape(shape),
        np.log([ratio(group) for group in groups]),
    )


def option_of(group: GroupOptions, kind: str) -> TypeOption:
    return next(option for option in group.types if option.kind == kind)


def ratio(group: GroupOptions) -> float:
    """What the group costs among damaged neighbours over what it costs alone; 1 where it was not measured."""
    alone = option_of(group, group.base).damage_nats
    if group.gain_nats is None or alone <= SMALLEST:
        return 1.0
    return min(RATIOS[1], max(RATIOS[0], group.gain_nats / alone))


def costs(groups: Sequence[GroupOptions], fit: DamageFit) -> Options:
    """What allocation adds up: bytes, and the terms of S."""

    def cost(group: GroupOptions, option: TypeOption) -> float:
        by_kind = 1.0 if option.measured else fit.types.get(option.kind, 1.0)
        return fit.groups[group.group] * by_kind * ratio(group) ** fit.weight * max(SMALLEST, option.damage_nats)

    return {
        group.group: [
            Option(kind=option.kind, bytes=option.stored_bytes, cost=cost(group, option)) for option in group.types
        ]
        for group in groups
    }


def predict(groups: Sequence[GroupOptions], fit: DamageFit, mix: Mapping[str, str], *, allocated: bool = True) -> float:
    """Divergence of `mix` on the measuring text, nats a position; allocated: it was chosen because it looks good."""
    total = cost_of(costs(groups, fit), mix)
    return (fit.optimism if allocated else 1.0) * fit.scale * total * (1 + total / fit.turn_nats) ** fit.curve


def prediction_error(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Root mean square of log(measured / predicted) over (predicted, measured); None without any."""
    logs = [math.log(max(SMALLEST, measured) / max(SMALLEST, predicted)) for predicted, measured in pairs]
    return float(np.sqrt(np.mean(np.square(logs)))) if logs else None
