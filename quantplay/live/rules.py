"""What the judge goes by. Written into the policy with a release, so that a rule never changes under a running comparison."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from quantplay.plan import Plan
from quantplay.records import Record, RollbackRules, Signal
from quantplay.records.rollback_rules import DEFAULT_RATIO, SIGNALS

SLOW_DECODE: Literal["slow_decode"] = "slow_decode"
LiveSignal = Signal | Literal["slow_decode"]
RESTART_SECONDS = 3600
MONTH_SECONDS = 30 * 24 * 3600
FLOOR_RESTART_SECONDS = 60  # a ceiling must not wait for the hour
FREEZE_SECONDS = 180  # without any count: no more traffic for the candidate until counts are back
MISMATCH_ALPHA = 0.001  # chance that a sound split of traffic is ever held back; a hold is no rollback
PROMOTION_EVIDENCE = 20.0
NO_CEILING = 1 - 1e-9


class LiveRules(Record):
    """The rollback rules of a plan with what the package adds to them."""

    limits: RollbackRules = RollbackRules()
    locked_slowdown: float | None = Field(default=None, gt=0)
    """Time per output token, quantized over full precision, when the package was locked; None where it was not measured."""

    def tolerated(self, signal: Signal) -> float:
        return self.limits.tolerated_ratio.get(signal, DEFAULT_RATIO)

    @property
    def relative(self) -> tuple[LiveSignal, ...]:
        """Signals compared between the arms."""
        return (*SIGNALS, SLOW_DECODE) if self.locked_slowdown is not None else SIGNALS

    @property
    def floors(self) -> tuple[tuple[Signal, float], ...]:
        """Signals with a share that is never tolerated; all of them where nobody will be left to compare with."""
        if self.alone_at_the_top:
            return tuple((name, self.limits.ceilings.get(name, NO_CEILING)) for name in SIGNALS)
        return tuple((name, self.limits.ceilings[name]) for name in SIGNALS if name in self.limits.ceilings)

    @property
    def alone_at_the_top(self) -> bool:
        return self.limits.holdback == 0

    @property
    def alpha(self) -> float:
        """False rollbacks a month of one detector: the whole over signals and floors, two detectors each, and over limits taken
        from the past, each of which may be too low."""
        past = len(self.floors) if self.alone_at_the_top else 0
        return self.limits.false_rollbacks_a_month / (2 * (len(self.relative) + len(self.floors)) + past)

    def log_threshold(self, kind: Literal["launch", "change"], *, floor: bool) -> float:
        """What the logarithm of an e-process has to reach: 1/alpha since the launch, starts a month/alpha for sums over restarts."""
        starts = MONTH_SECONDS / (FLOOR_RESTART_SECONDS if floor else RESTART_SECONDS)
        return math.log((1 if kind == "launch" else starts) / self.alpha)


def live_rules(plan: Plan, *, locked_slowdown: float | None = None) -> LiveRules:
    """The rules of a plan, with the usual values where it says nothing."""
    return LiveRules(limits=plan.rollback_rules or RollbackRules(), locked_slowdown=locked_slowdown)
