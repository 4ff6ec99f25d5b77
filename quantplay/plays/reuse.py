"""Has this model been quantized already: what the registry has for a plan, before any of its work is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quantplay.gate.target import HERE, check_target, chip_of, plain
from quantplay.plan import Plan
from quantplay.plays.catalogue import Listed, chips
from quantplay.records import Hardware

SHOWN = 3  # packages that are offered


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A locked package of the same model for the same runtime."""

    listed: Listed
    differs: tuple[str, ...]  # where it is not what the plan asks for, in words

    def text(self) -> str:
        """A sentence or two."""
        entry, stands = self.listed.entry, self.listed.standing
        size = f", {entry.size_bytes / (1 << 20):,.0f} MiB" if entry.size_bytes is not None else ""
        state = "confirmed" if stands.status == "confirmed" else f"{stands.status} here: {stands.why.rstrip('.')}"
        match = "the same " + ("model and runtime" if self.differs else "model, runtime, type, chip and use case")
        but = f", but {'; '.join(self.differs)}" if self.differs else ""
        return f"{entry.name} {entry.type}{size}, package {entry.key[:12]}, locked {entry.locked_at:%Y-%m-%d}, {state}; {match}{but}"

    def commands(self) -> tuple[str, ...]:
        """What to type to use it instead."""
        entry = self.listed.entry
        again = (f"quantplay revalidate {entry.key[:12]}",) if self.listed.standing.status != "confirmed" else ()
        return (f"quantplay registry show {entry.key[:12]}", *again, f"quantplay release-check {entry.path}")


def offers(found: Iterable[Listed], plan: Plan, here: Hardware) -> tuple[Offer, ...]:
    """What may be used instead, nearest first, a few. `found`: packages of the plan's model and runtime; `here`: this machine.

    One that got worse, or about which an incident is open, is not offered.
    """
    good = [one for one in found if one.standing.status != "regressed" and one.entry.incident is None]
    made = [Offer(listed=one, differs=differences(one, plan, here)) for one in good]
    made.sort(key=lambda one: (len(one.differs), one.listed.standing.status != "confirmed"))  # else newest first
    return tuple(made[:SHOWN])


def differences(one: Listed, plan: Plan, here: Hardware) -> tuple[str, ...]:
    """Type, chip and use case, as far as they are not what the plan asks for."""
    entry, found = one.entry, []
    types = plan.envelope.types
    if types and entry.type not in types:
        found.append(f"its type is {entry.type}, and the plan wants {' or '.join(types)}")
    if entry.stack is not None and not same_chip(plan, entry.stack.hardware, here):
        found.append(f"it was measured on {chips(entry)}")
    if plain(entry.use_case) != plain(plan.use_case):
        found.append(f"its use case is “{entry.use_case.rstrip('.')}”")
    return tuple(found)


def same_chip(plan: Plan, measured: Hardware, here: Hardware) -> bool:
    """On the chip that the plan names; on this machine's where it names none."""
    there, wanted = chip_of(plan.envelope, measured), plan.envelope.target_chip
    if wanted is None or plain(wanted) == HERE:
        return there == chip_of(plan.envelope, here)
    return check_target(plan.envelope, there).same
