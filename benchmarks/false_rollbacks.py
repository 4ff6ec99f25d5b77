"""How often does the live judge take back a good model, and how long does it take over a bad one?
`python -m benchmarks.false_rollbacks [--quick]`

Months of 30 days, 10 requests a second, a slice of 10 %, a look every 5 minutes, six signals with a ceiling for four of them, through
`quantplay.live.detectors.advance`, which the judge itself calls with a batch of one. The candidate stands at the very edge of what is
tolerated (1.05 times full precision on every signal) unless the row says otherwise. Bounds are Clopper and Pearson's, one-sided, 95 %.

A hundred of these months, and some with damage in them, are given to `quantplay.live.judge` as cumulative counters, an hour of looks a
call and some look by look; every decision has to be the same. Delays are those of one damaged signal at a base rate of 2 % and one conversation a second on
the candidate, with the budget divided over all seven signals and four ceilings. The last row pins heavy users to an arm: no test repairs that.
`--quick`: fewer months.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv

from benchmarks.live_worlds import MONTH, Block, Outcome, World, judged
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay.live import ArmCounts, JudgeState, LiveRules, Policy, Snapshot, judge
from quantplay.live.detectors import Crossing, Detectors, detectors_of
from quantplay.records.rollback_rules import SIGNALS

SEED = 20261121
BATCH, SHOCKED = 200, 20  # months at once; those of a batch share their shocks
RULES = LiveRules()
EDGE = World(name="at the edge, steady", ratio=1.05)
WORLDS = (
    (EDGE, 10_000, 2_000),
    (World(name="lossless, steady"), 1_000, 0),
    (replace(EDGE, name="at the edge, a look a minute", look_seconds=60), 200, 0),
    (replace(EDGE, name="at the edge, day and night", day_and_night=True), 1_000, 0),
    (replace(EDGE, name="at the edge, day and night, shocks", day_and_night=True, shocks=True), 1_000, 100),
    (replace(EDGE, name="at the edge, ramp, day and night", day_and_night=True, ramp=True), 1_000, 0),
    (replace(EDGE, name="at the edge, all that, events 2 hours late", day_and_night=True, shocks=True, ramp=True, late_minutes=120),
     1_000, 100),
)  # fmt: skip
PINNED = World(name="lossless, heavy users pinned to an arm", heavy_users=True)
DELAYS = (("x4", 4.0, 0, 20), ("x2", 2.0, 0, 60), ("x1.5", 1.5, 0, 240), ("x1.5 from day 10", 1.5, 240, 300))
START = 1_700_000_000


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Months that ended in a rollback."""

    world: str
    months: int
    rollbacks: int

    @property
    def cells(self) -> tuple[object, ...]:
        return self.world, self.months, self.rollbacks, f"{100 * self.share:.2f}", f"{100 * self.upper:.2f}"

    @property
    def share(self) -> float:
        return self.rollbacks / self.months

    @property
    def upper(self) -> float:
        return (
            1.0
            if self.rollbacks == self.months
            else float(betaincinv(self.rollbacks + 1, self.months - self.rollbacks, 0.95))
        )


def rate_of(world: World, months: int) -> Rate:
    """Batches of months, each with its own seed and, where there are any, its own shocks."""
    size = SHOCKED if world.shocks else BATCH
    detectors, found = detectors_of(RULES), 0
    for number, start in enumerate(range(0, months, size)):
        found += len(judged(detectors, world, min(size, months - start), SEED + number).alarms)
    return Rate(world=world.name, months=months, rollbacks=found)


def told(rate: Rate) -> Rate:
    """Said as soon as it is known: the whole takes a quarter of an hour."""
    print(*rate.cells, sep="; ", file=sys.stderr, flush=True)
    return rate


def snapshots(blocks: Sequence[Block], month: int, look_seconds: int) -> list[Snapshot]:
    """One month's counts as a gateway would keep them."""
    rise = np.concatenate(
        [np.concatenate([block.looks.exposure, block.looks.events[month]]) for block in blocks], axis=-1
    )  # (1 + S, 2, looks)
    totals = np.cumsum(rise, axis=-1).astype(int)
    return [
        Snapshot(
            at=START + look_seconds * (look + 1),
            revision=1,
            weight=0.1,
            candidate=_arm(totals[:, 0, look].tolist()),
            baseline=_arm(totals[:, 1, look].tolist()),
        )
        for look in range(totals.shape[-1])
    ]


def _arm(counts: list[int]) -> ArmCounts:
    return ArmCounts(conversations=counts[0], events=dict(zip(SIGNALS, counts[1:], strict=True)))


def replayed(history: Sequence[Snapshot], looks_a_call: int) -> JudgeState:
    """The judge over a month, its state through JSON after every call."""
    policy = Policy(revision=1, since=START, weight=0.1, steps=(0.1,))
    state = None
    for begin in range(0, len(history), looks_a_call):
        fresh = history[begin : begin + looks_a_call]
        state = judge(RULES, policy, fresh, state, fresh[-1].at).state
        if state.rolled_back is not None:
            break
        state = JudgeState.model_validate_json(state.model_dump_json())
    assert state is not None
    return state


def agreement(world: World, months: int, looks_a_call: int, seed: int) -> tuple[int, int, int]:
    """(months, decisions that agree, rollbacks among them) of the judge against the core in one batch."""
    blocks: list[Block] = []
    outcome = judged(detectors_of(RULES), world, months, seed, blocks)
    survivors = [month for month in range(months) if month not in outcome.alarms]
    agreed = sum(
        same(outcome, survivors, month, replayed(snapshots(blocks, month, world.look_seconds), looks_a_call), world)
        for month in range(months)
    )
    return months, agreed, len(outcome.alarms)


def same(outcome: Outcome, survivors: list[int], month: int, state: JudgeState, world: World) -> bool:
    """The same look, cause and number; without a rollback the same evidence on every alternative."""
    alarm: Crossing | None = outcome.alarms.get(month)
    told = state.rolled_back
    if alarm is None or told is None:
        evidence = outcome.evidence.logs[survivors.index(month)] if alarm is None else None
        return (
            alarm is None
            and told is None
            and evidence is not None
            and np.allclose(evidence, state.logs, rtol=1e-9, atol=1e-9)
        )
    cause = "floor" if alarm.row >= len(SIGNALS) else "worse"
    return told.at == START + world.look_seconds * (alarm.look + 1) and told.cause == cause


def one_signal() -> Detectors:
    """The comparison of one signal under the budget of a judge that watches everything."""
    whole = detectors_of(LiveRules(locked_slowdown=1.0))
    return replace(
        whole, relative=whole.relative[:1], floors=(), tolerated=whole.tolerated[:1], ratios=whole.ratios[:1],
        limits=whole.limits[:0], rates=whole.rates[:0], log_thresholds=whole.log_thresholds[:, :1],
    )  # fmt: skip


def delays(ratio: float, change_hour: int, look_seconds: int, months: int) -> tuple[float, float, float]:
    """Minutes from the change to the alarm: median, 95th percentile, and the share that alarmed before it."""
    world = World(
        name="",
        ratio=ratio,
        change_hour=change_hour,
        look_seconds=look_seconds,
        rates=(0.02,),
        hours=min(MONTH, change_hour + 48),
    )
    alarms = judged(one_signal(), world, months, SEED).alarms
    waited = np.full(months, np.inf)
    for month, alarm in alarms.items():
        waited[month] = (alarm.look + 1) * look_seconds / 60 - change_hour * 60
    median, late = np.percentile(waited, [50, 95])
    return float(median), float(late), float((waited < 0).mean())


def main() -> int:
    quick = quick_asked()
    worlds = [(world, small if quick else months) for world, months, small in WORLDS if small or not quick]
    *rates, pinned = [told(rate_of(*one)) for one in (*worlds, (PINNED, 60 if quick else 1_000))]
    print_table(("world", "months", "rollbacks", "% a month", "upper 95 %"), [row.cells for row in (*rates, pinned)])

    damaged = replace(EDGE, name="damage at noon of day 3", ratio=1.4, change_hour=60, hours=96, signals=(1,))
    plans = (
        [(replace(EDGE, hours=72), 4, 12), (replace(EDGE, hours=12), 2, 1), (damaged, 4, 12)]
        if quick
        else [(EDGE, 100, 12), (replace(EDGE, hours=72), 4, 1), (damaged, 40, 12)]
    )
    agreed = [agreement(world, months, looks, SEED + 7919) for world, months, looks in plans]
    print()
    print_table(
        ("replayed through judge()", "months", "agree", "rollbacks"),
        [
            (f"{w.name}, {w.hours} hours, {looks} looks a call", *row)
            for (w, _, looks), row in zip(plans, agreed, strict=True)
        ],
    )

    cases = [(name, ratio, hour, limit, look) for name, ratio, hour, limit in DELAYS for look in (300, 60)]
    if quick:
        cases = [case for case in cases if case[2] == 0 and case[4] == 300]
    waits = [delays(ratio, hour, look, 400 if quick else 2_000) for _, ratio, hour, _, look in cases]
    print()
    print_table(
        ("delay, minutes", "look every", "median", "p95", "% before"),
        [(name, f"{look} s", f"{w[0]:.0f}", f"{w[1]:.0f}", f"{100 * w[2]:.2f}")
         for (name, *_, look), w in zip(cases, waits, strict=True)],
    )  # fmt: skip

    figures = {
        "rates": [
            {
                "world": row.world,
                "months": row.months,
                "rollbacks": row.rollbacks,
                "upper_percent": round(100 * row.upper, 3),
            }
            for row in (*rates, pinned)
        ],
        "replayed": [dict(zip(("months", "agree", "rollbacks"), row, strict=True)) for row in agreed],
        "delays": [
            {"case": name, "look_seconds": look, "median_minutes": w[0], "p95_minutes": w[1]}
            for (name, *_, look), w in zip(cases, waits, strict=True)
        ],
    }
    goals = {
        "false_rollbacks_a_month_upper": at_most(100 * rates[0].upper, 1, "%"),
        "worst_world_rate": at_most(100 * max(row.share for row in rates), 1, "%"),
        "decisions_that_differ": at_most(sum(months - same_ for months, same_, _ in agreed), 0),
    }
    goals |= {
        f"delay_p95_{name.replace(' ', '_')}": at_most(wait[1], limit, "min")
        for (name, _, _, limit, look), wait in zip(cases, waits, strict=True)
        if look == 300
    }
    return finish("false_rollbacks", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
