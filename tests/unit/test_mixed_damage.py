"""The model of combined damage against invented models whose damage is known."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.mixed.allocate import allocate, cost_of, smallest_bytes
from quantplay.mixed.damage import RATIOS, Anchor, Seen, costs, fit_damage, predict, prediction_error, ratio
from quantplay.records import GroupOptions, TypeOption

BITS = {"Q8_0": 8.5, "Q6_K": 6.56, "Q4_K": 4.5, "Q3_K": 3.44, "Q2_K": 2.63}
LOW = "Q2_K"
Truth = Callable[[dict[str, str]], float]


def groups_like(count: int = 12, seed: int = 0, *, off: float = 0.0, gain: float = 1.0) -> tuple[GroupOptions, ...]:
    """Groups whose damages fall four times a bit; those between the ends are off by a random factor of `off` in logarithms."""
    draw = random.Random(seed)
    found = []
    for index in range(count):
        worst = draw.lognormvariate(-3, 1)
        types = tuple(
            TypeOption(
                kind=kind, stored_bytes=int(1000 * bits),
                damage_nats=worst * 4 ** (BITS[LOW] - bits) * (draw.lognormvariate(0, off) if 3 < bits < 8 else 1.0),
                measured=not 3 < bits < 8,
            )
            for kind, bits in BITS.items()
        )  # fmt: skip
        found.append(
            GroupOptions(
                group=f"g{index}", tensors={kind: {f"t{index}": kind} for kind in BITS}, types=types,
                gain_nats=gain * worst, base=LOW,
            )
        )  # fmt: skip
    return tuple(found)


def summed(groups: tuple[GroupOptions, ...], mix: dict[str, str]) -> float:
    return sum(next(one.damage_nats for one in group.types if one.kind == mix[group.group]) for group in groups)


def uniform(groups: tuple[GroupOptions, ...], kind: str) -> dict[str, str]:
    return {group.group: kind for group in groups}


def seen(truth: Truth, *mixes: dict[str, str], allocated: bool = False) -> list[Seen]:
    return [Seen(mix=mix, nats=truth(mix), se=0.02 * truth(mix), allocated=allocated) for mix in mixes]


def anchor_of(groups: tuple[GroupOptions, ...], curve: float = 0.0) -> Anchor:
    total = summed(groups, uniform(groups, LOW))
    return Anchor(nats=total * (1 + total) ** curve, se=0.02 * total)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 2.0), st.floats(-0.15, 0.15))
def test_three_uniform_types_tell_the_scale_of_the_text_and_how_damages_combine(
    seed: int, scale: float, curve: float
) -> None:
    groups = groups_like(seed=seed)

    def truth(mix: dict[str, str]) -> float:
        total = summed(groups, mix)
        return scale * total * (1 + total) ** curve

    kinds = ("Q4_K", "Q3_K", "Q2_K")
    fit = fit_damage(groups, anchor_of(groups, curve), seen(truth, *(uniform(groups, kind) for kind in kinds)))
    draw = random.Random(seed)
    for _ in range(5):
        mix = {group.group: draw.choice(kinds) for group in groups}
        assert predict(groups, fit, mix, allocated=False) == pytest.approx(truth(mix), rel=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_the_mix_of_least_cost_is_the_mix_of_least_damage(seed: int) -> None:
    groups = groups_like(seed=seed, off=0.3, gain=2.0)
    fit = fit_damage(groups, anchor_of(groups, 0.3), [])
    table, draw = costs(groups, fit), random.Random(seed)
    mixes = [{group.group: draw.choice(list(BITS)) for group in groups} for _ in range(20)]
    assert min(mixes, key=lambda mix: cost_of(table, mix)) == min(mixes, key=lambda mix: predict(groups, fit, mix))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_mixes_that_disappoint_correct_what_the_next_ones_promise(seed: int) -> None:
    """Interpolated damages are off by 40 %, and allocation picks those that are guessed too low."""
    right = groups_like(seed=seed, count=30)
    groups = groups_like(seed=seed, count=30, off=0.4)
    known = [(one, other) for one, other in zip(right, groups, strict=True)]

    def truth(mix: dict[str, str]) -> float:
        return summed(tuple(one for one, _ in known), mix)

    # the ends of the ladder are drawn alike in both, so only what lies between is off
    first = seen(truth, uniform(groups, "Q3_K"), uniform(groups, "Q4_K"))
    fit = fit_damage(groups, anchor_of(groups), first)
    room = int(1.5 * smallest_bytes(costs(groups, fit)))
    mixes = [allocate(costs(groups, fit), int(room * share)) for share in (0.97, 1.0, 1.03)]
    again = fit_damage(groups, anchor_of(groups), [*first, *seen(truth, *mixes, allocated=True)])
    other = allocate(costs(groups, again), int(1.1 * room))
    assert predict(groups, again, other) == pytest.approx(truth(other), rel=0.3)
    for mix in mixes:
        assert predict(groups, again, mix) == pytest.approx(truth(mix), rel=0.15)


def test_one_odd_measurement_does_not_overturn_what_is_known_of_the_groups() -> None:
    groups = groups_like(seed=5)
    mix = {group.group: "Q3_K" if index % 2 else "Q4_K" for index, group in enumerate(groups)}
    fit = fit_damage(groups, anchor_of(groups), seen(lambda mix: 3 * summed(groups, mix), mix))
    assert all(0.7 < factor < 1.5 for factor in fit.groups.values())


def test_a_gain_beyond_reason_is_bounded() -> None:
    for gain, expected in ((-4.0, RATIOS[0]), (50.0, RATIOS[1]), (1.5, 1.5)):
        assert [ratio(group) for group in groups_like(2, gain=gain)] == pytest.approx([expected] * 2)


def test_damages_of_zero_are_no_fault() -> None:
    groups = tuple(
        group.model_copy(update={"types": tuple(one.model_copy(update={"damage_nats": 0.0}) for one in group.types)})
        for group in groups_like(3)
    )
    fit = fit_damage(groups, Anchor(nats=0.0, se=0.0), seen(lambda _: 0.0, uniform(groups, LOW)))
    assert 0 <= predict(groups, fit, uniform(groups, "Q8_0")) < 1e-6


def test_the_error_of_predictions_is_relative() -> None:
    assert prediction_error([(1.0, 1.1), (0.01, 0.01)]) == pytest.approx(0.0674, abs=1e-3)
    assert prediction_error([]) is None
