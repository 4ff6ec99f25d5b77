"""Gate erosion: where a plan allows more than an earlier plan that already looked at the same model and evaluation set.

Nothing is forbidden here. A gate may be loosened for a good reason; it may not be loosened unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from quantplay.gate.sentences import LOOKS
from quantplay.plan import Gate, Plan
from quantplay.records import Digest, GateChange

NOT_GATED = "not gated"
NO_LIMIT = "no limit"
CEILINGS = ("max_artifact_mib", "memory_mib", "max_time_to_first_token_ms", "max_slowdown")
FLOORS = ("min_tokens_per_second",)
LOAD = ("context_tokens", "batch")
"""Under a lighter load every limit on speed and memory is easier to keep."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One earlier look at the gate split."""

    plan: Plan
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One promise of a plan. `strictness` orders two of them: the larger one is harder to keep."""

    field: str
    strictness: float
    words: str


def gate_changes(plan: Plan, earlier: Sequence[Look]) -> tuple[GateChange, ...]:
    """Every promise of `plan` that is laxer than the strictest one of `earlier`, by field; then the number of looks.

    earlier: looks of other plans at the same items with the same model, before the plan's own first look.
    """
    mine = {limit.field: limit for limit in limits(plan)}
    strictest: dict[str, tuple[Limit, Look]] = {}
    for look in sorted(earlier, key=lambda look: look.at):
        for limit in limits(look.plan):
            known = strictest.get(limit.field)
            if known is None or limit.strictness > known[0].strictness:
                strictest[limit.field] = limit, look
    changes = []
    for field, (before, look) in strictest.items():
        now = mine.get(field)
        if now is None or now.strictness < before.strictness:
            left_out = NO_LIMIT if field.startswith("envelope.") else NOT_GATED
            changes.append(change(field, before.words, now.words if now else left_out, look))
    return tuple(changes) + tuple(looks_change(plan, earlier))


def looks_change(plan: Plan, earlier: Sequence[Look]) -> Iterator[GateChange]:
    """Each further look at the same items makes a lucky pass likelier, also with an equal gate."""
    if earlier:
        first = min(earlier, key=lambda look: look.at)
        plans = len({look.plan.digest() for look in earlier})
        seen = f"{len(earlier)} {'look' if len(earlier) == 1 else 'looks'} by {plans} other {'plan' if plans == 1 else 'plans'}"
        yield change(LOOKS, seen, f"up to {plan.gate.attempts} more by this plan", first)


def change(field: str, before: str, now: str, look: Look) -> GateChange:
    at = look.at.isoformat(timespec="seconds")
    return GateChange(field=field, before=before, now=now, plan=look.plan.digest(), looked_at=at)


def limits(plan: Plan) -> Iterator[Limit]:
    """Everything a candidate has to keep under `plan`: tolerances of the gate, promises of the envelope."""
    yield from gate_limits(plan.gate)
    for name in (*CEILINGS, *FLOORS, *LOAD):
        value = getattr(plan.envelope, name)
        if value is not None:
            yield Limit(field=f"envelope.{name}", strictness=-value if name in CEILINGS else value, words=f"{value:g}")


def gate_limits(gate: Gate) -> Iterator[Limit]:
    for name, tolerance in gate.slices.items():
        for key in ("max_drop", "broken_drop"):
            yield points(f"slices.{name}.{key}", getattr(tolerance, key))
    for key in ("max_drop", "broken_drop"):
        yield points(f"hardest.{key}", getattr(gate.hardest, key))
    for key in ("max_loss_rise", "broken_loss_rise"):
        value = getattr(gate.hardest, key)
        yield Limit(field=f"hardest.{key}", strictness=-value, words=f"{value:g} nats")
    # A larger share dilutes the hardest items with easier ones.
    yield Limit(field="hardest.share", strictness=-gate.hardest.share, words=f"{100 * gate.hardest.share:g} %")


def points(field: str, value: float) -> Limit:
    return Limit(field=field, strictness=-value, words=f"{value:g} points")


def earlier_looks(looks: Sequence[tuple[Digest, datetime]], plan: Digest) -> tuple[tuple[Digest, datetime], ...]:
    """Of (plan, time) of every look, those of other plans before `plan` looked for the first time."""
    own = [at for digest, at in looks if digest == plan]
    return tuple((digest, at) for digest, at in looks if digest != plan and (not own or at < min(own)))
