"""A plan, or a model that was locked, against the standards. Pure: what is known goes in, every departure comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantplay.formats import TYPES
from quantplay.plan import Gate, Profile
from quantplay.plan_file import close_to
from quantplay.records import Departure
from quantplay.standards.file import DEFAULT, Standards, UseCase

HARDEST = "hardest"
SPEAKS_FOR = {"standards.samples": "calibration.count"}
"""Rule of the standards -> waiver whose reason is enough for it as well, where they allow it: one defect, one reason."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is compared: of a plan what it promises, of a locked model what was measured."""

    parts: Mapping[str, Any]  # of the plan, by key; one that can't be read is missing
    types: tuple[str, ...]  # to be tried; or the one that was locked
    items: Mapping[str, int]  # slice -> items of the gate split, as far as known
    samples: int | None  # of the calibration set, in use
    drops: Mapping[str, float]  # slice or `hardest` -> points it may lose; or the bound of what it lost
    loss_rise: float | None  # of the hardest items, nats a token; likewise
    measured: bool = False

    @classmethod
    def of_plan(
        cls, parts: Mapping[str, Any], *, types: tuple[str, ...], items: Mapping[str, int], samples: int | None
    ) -> Facts:
        gate: Gate | None = parts.get("gate")
        drops = {name: one.max_drop for name, one in gate.slices.items()} if gate else {}
        return cls(
            parts=parts, types=types, items=items, samples=samples,
            drops={**drops, HARDEST: gate.hardest.max_drop} if gate else {},
            loss_rise=gate.hardest.max_loss_rise if gate else None,
        )  # fmt: skip


def use_case_of(standards: Standards, parts: Mapping[str, Any]) -> tuple[str, UseCase] | None:
    """The use case a plan falls under; None where it names one that the standards don't have."""
    name = parts.get("use_case_class") or DEFAULT
    found = standards.use_cases.get(name)
    return (name, found) if found is not None else None


def compare(standards: Standards, facts: Facts) -> tuple[Departure, ...]:
    """Every departure, with the plan's reason where it gives one and one is enough."""
    reasons = {one.rule: one.reason for one in facts.parts.get("deviations") or ()}
    waived = {rule: reasons.get(other) for rule, other in SPEAKS_FOR.items() if other in standards.calibration.waivers}
    found = (
        *runtime_departures(standards, facts),
        *use_case_departures(standards, facts),
        *calibration_departures(standards, facts),
        *profile_departures(standards, facts),
    )
    return tuple(
        one.model_copy(update={"reason": reasons.get(one.rule) or waived.get(one.rule)}) if one.acceptable else one
        for one in found
    )


def runtime_departures(standards: Standards, facts: Facts) -> Iterator[Departure]:
    envelope, gate = facts.parts.get("envelope"), facts.parts.get("gate")
    rules = standards.runtimes.get(envelope.runtime) if envelope is not None else None
    if envelope is None or rules is None:
        return
    attempts = gate.attempts if gate is not None else 1
    enough = rules.fewer_bits_from_attempts is not None and attempts >= rules.fewer_bits_from_attempts
    for position, kind in enumerate(facts.types):
        place = ("envelope", "types", position) if envelope.types and not facts.measured else ("envelope", "types")
        if kind not in rules.types:
            yield Departure(
                rule="standards.types", place=place, what=f"{kind} is not in use for {envelope.runtime}", found=kind,
                standard=", ".join(rules.types), fix=f"`types: [{rules.types[0]}]`", when=rules.when_to_deviate,
            )  # fmt: skip
        bits = TYPES[kind].nominal_bits if kind in TYPES else rules.minimum_bits
        if bits < rules.minimum_bits and not enough:
            asked = rules.fewer_bits_from_attempts
            room = f", or `attempts: {asked}` under `gate:`, which leaves room to mend it" if asked else ""
            yield Departure(
                rule="standards.bits", place=place, what=f"{kind} has {rules.minimum_bits - bits} fewer bits than the standards allow",
                standard=f"{rules.minimum_bits} bits or more" + (f"; fewer with {asked} attempts" if asked else ""),
                found=f"{kind}, {bits} bits", fix=f"`types: [{rules.types[0]}]`{room}", when=rules.when_to_deviate,
            )  # fmt: skip


def use_case_departures(standards: Standards, facts: Facts) -> Iterator[Departure]:
    known = use_case_of(standards, facts.parts)
    if known is None:
        name = str(facts.parts.get("use_case_class"))
        near = close_to(name, standards.use_cases)
        yield Departure(
            rule="standards.use_case", place=("use_case_class",), what="the standards have no such use case", found=name,
            standard=", ".join(standards.use_cases), fix=f"did you mean `{near}`?" if near else f"remove it for `{DEFAULT}`",
            acceptable=False,
        )  # fmt: skip
        return
    name, rules = known
    profile: Profile | None = facts.parts.get("profile")
    if profile is not None and profile not in (*rules.profiles, "explore"):
        yield Departure(
            rule="standards.profile", place=("profile",), what=f"models of use case {name} are not locked under profile {profile}",
            standard=", ".join(rules.profiles), found=profile, fix=f"`profile: {rules.profiles[0]}`", when=rules.when_to_deviate,
        )  # fmt: skip
    for slice_name in facts.drops:
        if slice_name != HARDEST:
            yield from slice_departures(name, rules, slice_name, facts)
    yield from hardest_departures(rules, facts)
    for slice_name, one in rules.slices.items():
        if one.required and facts.drops and slice_name not in facts.drops:
            yield Departure(
                rule="standards.slices", place=("gate", "slices"), what=f"use case {name} needs a slice called {slice_name}",
                standard=slice_name, found=", ".join(key for key in facts.drops if key != HARDEST),
                fix=f"add items of slice {slice_name}, and its tolerance", when=rules.when_to_deviate,
            )  # fmt: skip


def slice_departures(use_case: str, rules: UseCase, name: str, facts: Facts) -> Iterator[Departure]:
    own = rules.slices.get(name)
    allowed = own.max_drop if own is not None and own.max_drop is not None else rules.max_drop
    needed = own.minimum_items if own is not None and own.minimum_items is not None else rules.minimum_items
    drop, items = facts.drops[name], facts.items.get(name)
    if drop > allowed:
        yield too_much(
            facts, ("gate", "slices", name, "max_drop"), f"slice {name}", drop, allowed, "points", rules, f"`max_drop: {allowed:g}`"
        )  # fmt: skip
    if items is not None and items < needed:
        yield Departure(
            rule="standards.items", place=("evaluation", "gate"), standard=f"{needed:,} items or more", found=f"{items:,} items",
            what=f"slice {name} has {needed - items:,} items fewer than use case {use_case} asks for",
            fix=f"add {needed - items:,} items to slice {name} of the gate split", when=rules.when_to_deviate,
        )  # fmt: skip


def hardest_departures(rules: UseCase, facts: Facts) -> Iterator[Departure]:
    drop, rise = facts.drops.get(HARDEST), facts.loss_rise
    place = ("gate", HARDEST)
    if drop is not None and rules.hardest_max_drop is not None and drop > rules.hardest_max_drop:
        fix = f"`max_drop: {rules.hardest_max_drop:g}`"
        yield too_much(
            facts, (*place, "max_drop"), "the hardest items", drop, rules.hardest_max_drop, "points", rules, fix
        )
    if rise is not None and rules.max_loss_rise is not None and rise > rules.max_loss_rise:
        fix = f"`max_loss_rise: {rules.max_loss_rise:g}`"
        yield too_much(
            facts, (*place, "max_loss_rise"), "the hardest items", rise, rules.max_loss_rise, "nats", rules, fix
        )


def too_much(
    facts: Facts, place: tuple[str, ...], what: str, drop: float, allowed: float, unit: str, rules: UseCase, fix: str
) -> Departure:
    verb = "lost up to" if facts.measured else "may lose"
    return Departure(
        rule="standards.tolerance", place=place, what=f"{what} {verb} {drop - allowed:.3g} {unit} more than the standards allow",
        standard=f"{allowed:g} {unit} at most", found=f"{drop:.4g} {unit}", fix=fix, when=rules.when_to_deviate,
    )  # fmt: skip


def calibration_departures(standards: Standards, facts: Facts) -> Iterator[Departure]:
    rules, samples = standards.calibration, facts.samples
    if samples is not None and not rules.minimum_samples <= samples <= rules.maximum_samples:
        few = samples < rules.minimum_samples
        by = rules.minimum_samples - samples if few else samples - rules.maximum_samples
        yield Departure(
            rule="standards.samples", place=("calibration", "samples"), found=f"{samples} samples",
            what=f"the calibration set has {by} samples {'fewer than the least' if few else 'more than the most'} the standards allow",
            standard=f"{rules.minimum_samples} to {rules.maximum_samples} samples", when=rules.when_to_deviate,
            fix="add samples, and raise `calibration.samples`" if few else f"`samples: {rules.maximum_samples}` under `calibration:`",
        )  # fmt: skip
    for position, one in enumerate(facts.parts.get("deviations") or ()):
        if one.rule.startswith("calibration.") and one.rule not in rules.waivers:
            yield Departure(
                rule="standards.waivers", place=("deviations", position, "rule"), acceptable=False, found=one.rule,
                what=f"{one.rule} may not be accepted here, whatever the reason", standard=", ".join(rules.waivers) or "none may be",
                fix="mend the calibration set and remove this entry; or have the standards allow it", when=rules.when_to_deviate,
            )  # fmt: skip


def profile_departures(standards: Standards, facts: Facts) -> Iterator[Departure]:
    profile, owners = facts.parts.get("profile"), facts.parts.get("owners")
    rules = standards.profiles.get(profile) if profile is not None else None
    if rules is None:
        return
    for part in rules.parts:
        top, _, inner = part.partition(".")
        value = facts.parts.get(top)
        if inner and value is not None:
            value = getattr(value, inner)
        if value in (None, "", ()) and top in facts.parts:
            yield Departure(
                rule="standards.parts", place=tuple(part.split(".")), what=f"{part} is left out, and profile {profile} needs it",
                standard=f"{part} is there", found="nothing", fix=f"add `{inner or top}:`" + (f" under `{top}:`" if inner else ""),
                when=rules.when_to_deviate,
            )  # fmt: skip
    for role in rules.owners if owners is not None else ():
        if getattr(owners, role) is None:
            yield Departure(
                rule="standards.owners", place=("owners", role), what=f"nobody is named as {role}", standard=f"owners.{role} is named",
                found="nobody", fix=f"add `{role}:` under `owners:`", when=rules.when_to_deviate,
            )  # fmt: skip
