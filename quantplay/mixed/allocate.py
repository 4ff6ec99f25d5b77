"""One type for every group, so that the damage is least within the bytes: the multiple-choice knapsack, solved exactly.

H. Kellerer, U. Pferschy, D. Pisinger, Knapsack Problems (2004), chapter 11. Costs are any numbers that add up over groups; what
they mean is `damage.py`'s business.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay.errors import InputError

Mix = dict[str, str]
"""Group -> ggml type."""
GAP = 1e-6  # relative distance from the optimum at which the solver may stop
TIME_LIMIT_SECONDS = 30.0
PRICE_STEPS = 80  # halvings of the price's range
SAFER_ROUNDS = 5  # the solver keeps to the budget within a tolerance; a mix over it is solved again with less


@dataclass(frozen=True, kw_only=True)
class Option:
    """One type a group may take."""

    kind: str
    bytes: int  # true bytes of the group's tensors: scales, padding and fallbacks included
    cost: float  # what it adds to the damage


Options = Mapping[str, Sequence[Option]]
"""Group -> what it may take; at least one option each."""


def allocate(options: Options, budget_bytes: int, *, apart_from: Sequence[Mix] = (), distance: int = 1) -> Mix:
    """The mix of least cost with at most `budget_bytes`.

    apart_from: mixes to differ from in at least `distance` groups each. The answer is never worse than the best uniform type or the
    greedy mix that keep to the same rules. Equal inputs give the same answer. Raises InputError that names the smallest size where
    the budget is below it, and LookupError where no mix is left that differs enough.
    """
    smallest = smallest_bytes(options)
    if budget_bytes < smallest:
        raise InputError(
            "no mix is as small as the budget", value=f"{budget_bytes:,} bytes",
            allowed=f"at least {smallest:,} bytes: every group at its smallest type",
            fix="raise the budget, or allow the groups smaller types",
        )  # fmt: skip
    found = solve(options, budget_bytes, apart_from, distance)
    rivals = [greedy(options, budget_bytes), *uniform_mixes(options, budget_bytes)]
    for rival in rivals:
        if all(differences(rival, other) >= distance for other in apart_from):
            assert cost_of(options, found) <= cost_of(options, rival) * (1 + 2 * GAP) + 1e-15, "worse than a simple mix"
    assert bytes_of(options, found) <= budget_bytes, "over the budget"
    return found


def solve(options: Options, budget_bytes: int, apart_from: Sequence[Mix] = (), distance: int = 1) -> Mix:
    """The same by `scipy.optimize.milp` alone: one 0-1 variable an option, one of them a group."""
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_array

    # an option that costs no less and takes no less than another is never needed, unless a mix has to be unlike others
    kept = options if apart_from else within_reach(options, budget_bytes)
    columns = [(group, option) for group, choices in kept.items() for option in choices]
    rows = {group: number for number, group in enumerate(kept)}
    matrix = lil_array((len(rows) + 1 + len(apart_from), len(columns)))
    # bytes above the smallest mix: small integers keep the solver's tolerance far below one byte
    floor = {group: min(option.bytes for option in choices) for group, choices in kept.items()}
    room = budget_bytes - sum(floor.values())
    unit = max(1, room)
    for column, (group, option) in enumerate(columns):
        matrix[rows[group], column] = 1
        matrix[len(rows), column] = (option.bytes - floor[group]) / unit
        for number, other in enumerate(apart_from):
            if other.get(group) == option.kind:
                matrix[len(rows) + 1 + number, column] = 1
    lower: Any = np.array([1.0] * len(rows) + [-np.inf] * (1 + len(apart_from)))
    upper: Any = np.array([1.0] * len(rows) + [(room + 0.5) / unit] + [float(len(rows) - distance)] * len(apart_from))
    costs = np.array([option.cost for _, option in columns])
    scale = max(float(np.abs(costs).max()), 1e-300)
    for _ in range(SAFER_ROUNDS):
        with without_chatter():
            answer = milp(
                costs / scale, constraints=LinearConstraint(matrix.tocsr(), lower, upper), bounds=Bounds(0, 1),
                integrality=np.ones(len(columns)), options={"mip_rel_gap": GAP, "time_limit": TIME_LIMIT_SECONDS},
            )  # fmt: skip
        if answer.x is None:
            raise LookupError(answer.message)
        chosen = {group: option for (group, option), taken in zip(columns, answer.x, strict=True) if taken > 0.5}
        over = sum(option.bytes for option in chosen.values()) - budget_bytes
        if over <= 0:
            return {group: option.kind for group, option in chosen.items()}
        upper[len(rows)] -= (over + 1) / unit  # within the solver's tolerance, and still over the budget
    raise LookupError("no mix keeps exactly to the budget")


@contextmanager
def without_chatter() -> Iterator[None]:
    """HiGHS 1.12 prints a line for debugging on the process's standard output, where our JSON goes."""
    library, kept = ctypes.CDLL(None), os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        sys.stdout.flush()
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            library.fflush(None)  # C keeps its own buffer
            os.dup2(kept, 1)
            os.close(kept)


def within_reach(options: Options, budget_bytes: int) -> Options:
    """`options` without those that no optimal mix can hold: few are left, so that large models are solved in a moment.

    Lagrangian bound (Kellerer et al., 11.4): with a price of `p` a byte, sum of min(cost + p * bytes) - p * budget is a lower bound
    of every mix's cost, and giving a group another option raises it by that option's distance from its group's minimum.
    """
    import numpy as np

    ladders = {group: worthwhile(choices) for group, choices in options.items()}
    upper = cost_of(ladders, greedy(ladders, budget_bytes))
    costs = [np.array([option.cost for option in ladder]) for ladder in ladders.values()]
    sizes = [np.array([float(option.bytes) for option in ladder]) for ladder in ladders.values()]

    def fits(price: float) -> bool:
        chosen = ((cost + price * size).argmin() for cost, size in zip(costs, sizes, strict=True))
        return sum(size[index] for size, index in zip(sizes, chosen, strict=True)) <= budget_bytes

    low, high = 0.0, 2 * max(float(cost.max()) for cost in costs) + 1e-300  # a byte dearer than any damage
    for _ in range(PRICE_STEPS):
        price = (low + high) / 2
        low, high = (low, price) if fits(price) else (price, high)
    price = high
    prices = [cost + price * size for cost, size in zip(costs, sizes, strict=True)]
    bound = sum(float(each.min()) for each in prices) - price * budget_bytes
    slack = upper - bound + 1e-9 * abs(upper)
    return {
        group: [option for option, value in zip(ladder, each, strict=True) if value - each.min() <= slack]
        for (group, ladder), each in zip(ladders.items(), prices, strict=True)
    }


def worthwhile(choices: Sequence[Option]) -> list[Option]:
    """Options that no other one beats in both bytes and cost, smallest first; of equal ones the first by name."""
    kept: list[Option] = []
    for option in sorted(choices, key=lambda one: (one.bytes, one.cost, one.kind)):
        if not kept or option.cost < kept[-1].cost:
            kept.append(option)
    return kept


def greedy(options: Options, budget_bytes: int) -> Mix:
    """From every group's smallest type upwards, always the step that takes away most cost a byte and still fits."""
    ladders = {group: worthwhile(choices) for group, choices in options.items()}
    at = dict.fromkeys(ladders, 0)
    left = budget_bytes - sum(ladder[0].bytes for ladder in ladders.values())

    def best_step(group: str) -> tuple[float, str, int] | None:
        ladder, here = ladders[group], ladders[group][at[group]]
        steps = [
            ((to.cost - here.cost) / (to.bytes - here.bytes), group, number)
            for number, to in enumerate(ladder)
            if number > at[group] and to.bytes - here.bytes <= left
        ]
        return min(steps, default=None)

    open_steps = {group: step for group in ladders if (step := best_step(group))}
    while open_steps:
        _, group, number = min(open_steps.values())
        if ladders[group][number].bytes - ladders[group][at[group]].bytes <= left:
            left -= ladders[group][number].bytes - ladders[group][at[group]].bytes
            at[group] = number
        # what was left has shrunk since this group's step was looked for, or the step is taken
        if step := best_step(group):
            open_steps[group] = step
        else:
            del open_steps[group]
    return {group: ladder[at[group]].kind for group, ladder in ladders.items()}


def uniform_mixes(options: Options, budget_bytes: int | None = None) -> list[Mix]:
    """One mix for every type that all groups may take and that fits, in the order of the first group."""
    first, *others = options.values()
    kinds = [option.kind for option in first if all(any(one.kind == option.kind for one in rest) for rest in others)]
    mixes = [dict.fromkeys(options, kind) for kind in kinds]
    return [mix for mix in mixes if budget_bytes is None or bytes_of(options, mix) <= budget_bytes]


def smallest_bytes(options: Options) -> int:
    return sum(min(option.bytes for option in choices) for choices in options.values())


def bytes_of(options: Options, mix: Mapping[str, str]) -> int:
    return sum(option_of(options, group, kind).bytes for group, kind in mix.items())


def cost_of(options: Options, mix: Mapping[str, str]) -> float:
    return sum(option_of(options, group, kind).cost for group, kind in mix.items())


def option_of(options: Options, group: str, kind: str) -> Option:
    return next(option for option in options[group] if option.kind == kind)


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    """Groups that two mixes give different types."""
    return sum(other.get(group) != kind for group, kind in one.items())
