"""One type for every group, so that the damage is least within the bytes: the multiple-choice knapsack, solved exactly.

H. Kellerer, U. Pferschy, D. Pisinger, Knapsack Problems (2004), chapter 11. Costs are any numbers that add up over groups; what
they mean is `damage.py`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantplay.errors import InputError

Mix = dict[str, str]
"""Group -> ggml type."""
GAP = 1e-7  # relative distance from the optimum at which the solver may stop
TIME_LIMIT_SECONDS = 30.0
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
    kept = options if apart_from else {group: worthwhile(choices) for group, choices in options.items()}
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
    upper: Any = np.array([1.0] * len(rows) + [room / unit] + [float(len(rows) - distance)] * len(apart_from))
    costs = np.array([option.cost for _, option in columns])
    scale = max(float(np.abs(costs).max()), 1e-300)
    for _ in range(SAFER_ROUNDS):
        answer = milp(
            costs / scale, constraints=LinearConstraint(matrix.tocsr(), lower, upper), integrality=np.ones(len(columns)),
            bounds=Bounds(0, 1), options={"mip_rel_gap": GAP, "time_limit": TIME_LIMIT_SECONDS},
        )  # fmt: skip
        if answer.x is None:
            raise LookupError(answer.message)
        chosen = {group: option for (group, option), taken in zip(columns, answer.x, strict=True) if taken > 0.5}
        over = sum(option.bytes for option in chosen.values()) - budget_bytes
        if over <= 0:
            return {group: option.kind for group, option in chosen.items()}
        upper[len(rows)] -= (over + 1) / unit  # within the solver's tolerance, and still over the budget
    raise LookupError("no mix keeps exactly to the budget")


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
    while True:
        steps = []
        for group, ladder in ladders.items():
            here = ladder[at[group]]
            for number in range(at[group] + 1, len(ladder)):
                more = ladder[number].bytes - here.bytes
                if more <= left:
                    steps.append((-(here.cost - ladder[number].cost) / more, group, number))
        if not steps:
            return {group: ladder[at[group]].kind for group, ladder in ladders.items()}
        _, group, number = min(steps)
        left -= ladders[group][number].bytes - ladders[group][at[group]].bytes
        at[group] = number


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
