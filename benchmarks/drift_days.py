"""How often is a drift told of traffic that did not change, and how many days does it take over traffic that did?
`python -m benchmarks.drift_days [--quick]`

Quarters of 91 days after the 14 that are taken as usual, through `quantplay.live.drift.usual`, which the daily look itself uses. Days
differ by weekday and topics wander (drift_world.py). A drift is a day beyond a limit on the second day in a row; after one a quarter ends.
Upper bounds are exact for Poisson counts, one-sided, 95 %. `--quick`: fewer quarters.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.special import gammaincinv

from benchmarks.drift_world import World, days_of, topics
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay.live.drift.divergence import REPLICATES, divergence, unchanged
from quantplay.live.drift.features import of_text
from quantplay.live.drift.fingerprint import FAMILIES
from quantplay.live.drift.usual import CHANCE, QUARTER, STEPS, Day, Usual
from quantplay.live.drift.verdict import REFERENCE_DAYS

SEED = 20261122
USUAL = World(name="8,000 conversations a day")
WORLDS = (
    (USUAL, 1000, 12),
    (replace(USUAL, name="300 a day", conversations=300), 100, 3),
    (replace(USUAL, name="100,000 a day", conversations=100_000), 100, 3),
    (replace(USUAL, name="topics wander twice as far", wander=0.5), 100, 3),
    (replace(USUAL, name="days independent", persistence=0.0), 100, 0),
    (replace(USUAL, name="days hang together for weeks (0.9)", persistence=0.9), 100, 0),
)  # fmt: skip
SHIFTS = (
    (replace(USUAL, name="a tenth of the conversations in a new language", shift="german", share=0.1), 3),
    (replace(USUAL, name="half of them in a new language", shift="german", share=0.5), 2),
    (replace(USUAL, name="code from 8 to 31 %", shift="code", share=0.25), 3),
    (replace(USUAL, name="half of the prompts three times as long", shift="longer", share=0.5), 3),
    (replace(USUAL, name="JSON tool calls, 30 %", shift="tool calls", share=0.3), 2),
    (replace(USUAL, name="slow: code to 45 % within 30 days", shift="code", share=0.4, over_days=30), 30),
    (replace(USUAL, name="300 a day, a tenth in a new language", conversations=300, shift="german", share=0.1), 30),
)  # fmt: skip
AFTER = REFERENCE_DAYS + 21  # days before a shift


@dataclass(frozen=True, kw_only=True)
class Told:
    """When a quarter's drift was told, in days after the reference, and by which family."""

    day: int
    families: tuple[str, ...]


class Quick(Usual):
    """The same decisions without the limits themselves: enough unchanged days that are farther say that a day is within."""

    def __init__(self, days: Sequence[Day]) -> None:
        super().__init__(days)
        self.drawn_so_far: dict[tuple[str, str, int], tuple[Iterator[np.ndarray], list[np.ndarray]]] = {}

    def beyond(self, family: str, day: Day) -> bool:
        found = self.distance(family, day.fingerprint)
        if found is None:
            return False
        step = math.floor(STEPS * math.log2(max(1.0, day.fingerprint.size_of(family))))
        key = (family, found[1], step)
        if key not in self.drawn_so_far:
            self.drawn_so_far[key] = unchanged(*self.around(family, found[1], 2 ** (step / STEPS))), []
        blocks, drawn = self.drawn_so_far[key]
        # The limit is the draw with `allowed` others above it.
        allowed = REPLICATES - 1 - math.ceil((REPLICATES - 1) * (1 - CHANCE))
        while sum(int((block >= found[0]).sum()) for block in drawn) <= allowed:
            block = next(blocks, None)
            if block is None:
                return True
            drawn.append(block)
        return False


def first_drift(days: Sequence[Day]) -> Told | None:
    """The rule of `look_for_drift`, without its database: the same family beyond its limit on two days in a row."""
    usual, before = Quick(days[:REFERENCE_DAYS]), frozenset[str]()
    for number, day in enumerate(days[REFERENCE_DAYS:], start=1):
        beyond = frozenset(family for family in FAMILIES if usual.beyond(family, day))
        if both := before & beyond:
            return Told(day=number, families=tuple(sorted(both)))
        before = beyond
    return None


def decisions_that_differ(quarters: int) -> int:
    """Days and families that `Usual`, which the daily look asks, decides otherwise."""
    wrong = 0
    for number in range(quarters):
        world = replace(USUAL, shift="code", share=0.06 * number, shift_day=REFERENCE_DAYS + 5)
        days = days_of(world, REFERENCE_DAYS + 20, SEED + number)
        quick, usual = Quick(days[:REFERENCE_DAYS]), Usual(days[:REFERENCE_DAYS])
        for day in days[REFERENCE_DAYS:]:
            for family in FAMILIES:
                found = usual.nearest(family, day.fingerprint)
                wrong += quick.beyond(family, day) != (found is not None and found[0] > found[1])
    return wrong


def upper(events: int) -> float:
    return float(gammaincinv(events + 1, 0.95))


def false_triggers(world: World, quarters: int) -> tuple[int, float, dict[str, int]]:
    """(triggers, upper bound a quarter, by family)."""
    found = [first_drift(days_of(world, REFERENCE_DAYS + QUARTER, SEED + number)) for number in range(quarters)]
    told = [one for one in found if one is not None]
    families = {name: sum(name in one.families for one in told) for name in FAMILIES}
    return len(told), upper(len(told)) / quarters, families


def delays(world: World, runs: int) -> tuple[np.ndarray, int]:
    """Days from the shift to the end of the day it is told, inf where it is not within 60; and how many were told before it."""
    waited, early = np.full(runs, np.inf), 0
    for number in range(runs):
        days = days_of(replace(world, shift_day=AFTER), AFTER + 60, SEED + 7919 + number)
        told = first_drift(days)
        if told is None:
            continue
        day = told.day + REFERENCE_DAYS - AFTER
        if day <= 0:
            early += 1
        else:
            waited[number] = day
    return waited, early


def oracle(cases: int) -> float:
    """Largest difference from scipy's Jensen-Shannon distance, squared, in bits."""
    dice, worst = np.random.default_rng(SEED), 0.0
    for _ in range(cases):
        p, q = dice.gamma(0.3, size=(2, dice.integers(2, 300)))
        worst = max(worst, abs(float(divergence(p, q)) - float(jensenshannon(p, q, base=2)) ** 2))
    return worst


def microseconds() -> float:
    """Processor time of one look at a request of 6,000 characters, the most that is read."""
    text = ('Please tell me where order 307 is, and {"colour": "white"} of it? ' * 100)[:6000]
    rounds, begin = 300, time.process_time()
    for _ in range(rounds):
        of_text(text)
    return 1e6 * (time.process_time() - begin) / rounds


def main() -> int:
    quick = quick_asked()
    topics()
    rows, worst = [], {}
    for world, many, few in WORLDS:
        quarters = few if quick else many
        if not quarters:
            continue
        found, bound, families = false_triggers(world, quarters)
        rows.append(
            (world.name, quarters, found, found / quarters, bound, ", ".join(n for n, k in families.items() if k))
        )
        worst[world.name] = found / quarters
        print(*rows[-1], sep="; ", file=sys.stderr, flush=True)
    print_table(("unchanged traffic", "quarters", "told", "a quarter", "upper 95 %", "by"), rows)
    print()
    shifts = []
    for world, limit in SHIFTS:
        waited, early = delays(world, 4 if quick else 50)
        shifts.append(
            (world.name, float(np.median(waited)), float(np.quantile(waited, 0.95, method="higher")), early, limit)
        )
        print(*shifts[-1], sep="; ", file=sys.stderr, flush=True)
    print_table(("shift", "days, median", "95 %", "told before"), [row[:4] for row in shifts])
    figures = {
        "false": [dict(zip(("world", "quarters", "told", "a_quarter", "upper"), row[:5], strict=True)) for row in rows],
        "delays": [
            {"shift": name, "median": min(m, 999), "p95": min(p, 999), "early": e} for name, m, p, e, _ in shifts
        ],
        "look_microseconds": microseconds(),
    }
    goals = {
        "false_triggers_a_quarter_upper": at_most(rows[0][4], 1),
        "worst_world_a_quarter": at_most(max(worst.values()), 1),
        "decisions_that_differ": at_most(decisions_that_differ(1 if quick else 8), 0),
        "difference_from_scipy": at_most(oracle(200), 1e-9),
    }
    goals |= {
        f"days_{name.replace(' ', '_').replace(',', '')}": at_most(min(p, 999), limit, "days")
        for name, _, p, _, limit in shifts
    }
    return finish("drift_days", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
