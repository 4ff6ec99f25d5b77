"""Before anything runs: every fault of a plan and of all it points to, and what its gate will be able to tell.

Reads the data sets and the headers of the weights; loads no model. A few seconds at most on sets of some thousand items.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from quantplay.errors import Fault
from quantplay.gate import PowerReport, power_report
from quantplay.gate.ahead import room
from quantplay.plan import BusinessCase, Gate
from quantplay.plan_file import PlanFile, load_plan
from quantplay.plays.business_case import Arithmetic, arithmetic
from quantplay.plays.calibration import calibration_of, finding_faults, idle_waivers
from quantplay.plays.check_ahead import ahead_faults, ahead_warnings
from quantplay.plays.check_envelope import cache_faults, extra_faults, place_faults
from quantplay.plays.check_import import import_faults
from quantplay.plays.check_length import length_faults
from quantplay.plays.check_memory import memory_faults
from quantplay.plays.check_rules import (
    deviation_faults,
    envelope_faults,
    envelope_warnings,
    gate_faults,
    is_folder,
    model_faults,
    model_folder,
    model_warnings,
    profile_warnings,
    slice_name_faults,
)
from quantplay.plays.check_sets import (
    Sets,
    answer_faults,
    calibration_faults,
    overlap_faults,
    read_sets,
    slice_faults,
    split_warnings,
)
from quantplay.plays.check_tokenizer import open_tokenizer, vocabulary_faults
from quantplay.plays.standards import check_of_file, departure_faults, idle_reasons
from quantplay.plays.target import target_findings
from quantplay.records import CalibrationCheck, Digest, Record, StandardsCheck
from quantplay.standards import Standards


class SetSize(Record):
    """One file of data, as read."""

    name: str  # gate | dev | heldout | calibration | traffic | training
    entries: int
    slices: dict[str, int]  # slice -> items; empty for plain texts


class CheckReport(Record):
    """What `quantplay check` found."""

    path: str
    name: str | None  # of the plan
    plan: Digest | None  # None where the plan has faults of its own
    gate: Digest | None  # what a run will freeze; None likewise
    faults: tuple[Fault, ...]  # the plan can't run
    warnings: tuple[Fault, ...]  # it can, and somebody should have a look
    sets: tuple[SetSize, ...]
    power: PowerReport | None  # None where gate or gate split have faults
    calibration: CalibrationCheck | None = None  # None where the set can't be read
    standards: StandardsCheck | None = None  # None where none apply
    business_case: Arithmetic | None = None  # of the plan, before anything is measured; None where it has none
    room: str | None = (
        None  # which plays the gate's attempts leave room for; None where the gate has faults, or nothing may follow
    )
    seconds: float

    @property
    def good(self) -> bool:
        return not self.faults


def check_plan(path: Path, *, measured_here: bool = True, standards: Standards | None = None) -> CheckReport:
    """Check the plan in `path`. Raises nothing for what plan, data or model hold.

    `measured_here`: whether this machine's chip is the one a run would measure on. `standards`: of the organisation.
    """
    started = time.perf_counter()
    file = load_plan(path)
    part, base = file.parts, path.parent
    sets = read_sets(file, part.get("evaluation"), part.get("calibration"), base, part.get("training"))
    calibration = calibration_of(file, sets, base)
    compared = check_of_file(file, sets, standards)
    departures = departure_faults(file, compared)
    free = part.get("profile") == "explore"  # looking around: told, and nothing more
    faults = (
        *file.faults,
        *sets.faults,
        *rule_faults(file, sets, base, measured_here),
        *finding_faults(file, calibration),
        *ahead_faults(file, sets),
        *import_faults(file),
        *(() if free else departures),
    )
    power = power_of(file, sets)
    warnings = (
        *rule_warnings(file, sets, base, measured_here),
        *power_warnings(file, power),
        *idle_waivers(file, calibration),
        *ahead_warnings(file),
        *idle_reasons(file, compared),
        *(departures if free else ()),
    )
    return CheckReport(
        path=str(path),
        name=file.plan.name if file.plan else None,
        plan=file.plan.digest() if file.plan else None,
        gate=file.plan.gate_digest() if file.plan else None,
        faults=in_order(faults, path),
        warnings=in_order(warnings, path),
        sets=tuple(sizes(sets)),
        power=power,
        calibration=calibration,
        standards=compared,
        business_case=business_case_of(file),
        room=room_of(file),
        seconds=time.perf_counter() - started,
    )


def business_case_of(file: PlanFile) -> Arithmetic | None:
    case = file.parts.get("business_case")
    return arithmetic(case) if isinstance(case, BusinessCase) else None


def room_of(file: PlanFile) -> str | None:
    gate: Gate | None = file.parts.get("gate")
    if gate is None or file.parts.get("imported") is not None:
        return None
    return room(gate.attempts, training=file.parts.get("business_case") is not None)


def in_order(faults: tuple[Fault, ...], path: Path) -> tuple[Fault, ...]:
    """Each once; those of the plan by line, then those of the files it names."""

    def line(fault: Fault) -> int:
        place, _, number = fault.where.rpartition(":")
        return int(number) if place == str(path) and number.isdigit() else 1 << 30

    return tuple(sorted(dict.fromkeys(faults), key=line))


def rule_faults(file: PlanFile, sets: Sets, base: Path, measured_here: bool) -> Iterator[Fault]:
    """Every rule whose parts of the plan are valid by themselves."""
    part = file.parts
    model, evaluation, gate, envelope = (part.get(key) for key in ("model", "evaluation", "gate", "envelope"))
    decoding, calibration = part.get("decoding"), part.get("calibration")
    if model is not None:
        yield from model_faults(file, model, base)
    yield from deviation_faults(file, part.get("deviations") or ())
    yield from slice_name_faults(file, evaluation, gate)
    if evaluation is not None:
        yield from slice_faults(file, evaluation, sets)
    yield from overlap_faults(file, sets)
    if calibration is not None:
        yield from calibration_faults(file, calibration, sets)
    if envelope is not None:
        yield from envelope_faults(file, envelope)
        yield from place_faults(file, envelope)
        if measured_here:
            yield from extra_faults(file, envelope)
    if measured_here and part.get("profile") == "production":
        yield from target_findings(file)
    if gate is not None:
        yield from gate_faults(file, gate)
    if decoding is not None:
        yield from answer_faults(file, decoding, sets)
    folder = model_folder(model, base) if model is not None else None
    if measured_here and envelope is not None and folder is not None and is_folder(folder):
        yield from memory_faults(file, envelope, folder)
    if envelope is not None:
        yield from cache_faults(file, envelope, folder if folder is not None and is_folder(folder) else None)
    tokenizer = open_tokenizer(folder) if folder is not None and is_folder(folder) else None
    if isinstance(tokenizer, Fault):
        yield tokenizer
    elif tokenizer is not None and folder is not None:
        yield from vocabulary_faults(tokenizer, folder)
        if envelope is not None and decoding is not None:
            items = (*(sets.gate or ()), *(sets.dev or ()))
            yield from length_faults(file, envelope, decoding, items, tokenizer)


def rule_warnings(file: PlanFile, sets: Sets, base: Path, measured_here: bool) -> Iterator[Fault]:
    part = file.parts
    if isinstance(profile := part.get("profile"), str):
        yield from profile_warnings(file, profile)
    if (model := part.get("model")) is not None:
        yield from model_warnings(file, model, base)
    if (evaluation := part.get("evaluation")) is not None:
        yield from split_warnings(file, evaluation, sets)
    if (envelope := part.get("envelope")) is not None:
        yield from envelope_warnings(file, envelope)
    if measured_here and part.get("profile") != "production":
        yield from target_findings(file)


def power_of(file: PlanFile, sets: Sets) -> PowerReport | None:
    """The power calculation, where every gated slice has items of its own to calculate with."""
    gate: Gate | None = file.parts.get("gate")
    if gate is None or not sets.gate:
        return None
    items = Counter(item.slice for item in sets.gate)
    documents = Counter(name for name, _ in {(item.slice, item.document) for item in sets.gate})
    if any(name not in items for name in gate.slices):
        return None
    return power_report(gate, items, documents)


def power_warnings(file: PlanFile, power: PowerReport | None) -> Iterator[Fault]:
    if power is None or power.enough:
        return
    gate: Gate = file.parts["gate"]
    chance = f"{100 * power.joint_probability:.0f} %"
    short = [
        f"{row.slice} needs {row.items_needed:,} items, has {row.items:,}, which carry max_drop {row.carries_points:g}"
        if row.items_needed is not None
        else f"{row.slice} needs more items than anybody has; {row.items:,} carry max_drop {row.carries_points:g}"
        for row in power.short
    ]
    yield file.fault(
        ("gate",),
        f"gate: even a lossless candidate would pass with a chance of only {chance}",
        value="; ".join(short) or chance,
        allowed=f"at least {100 * power.target:.0f} %",
        fix="add items to these slices, or decide on wider tolerances now, before any result exists; the hardest items are "
        f"the first {100 * gate.hardest.share:g} % of all (`gate.hardest.share`)",
    )


def sizes(sets: Sets) -> Iterator[SetSize]:
    for name in ("gate", "dev"):
        items = getattr(sets, name)
        if items is not None:
            yield SetSize(name=name, entries=len(items), slices=dict(Counter(item.slice for item in items)))
    for name in ("heldout", "calibration", "traffic", "training"):
        texts = getattr(sets, name)
        if texts is not None:
            yield SetSize(name=name, entries=len(texts), slices={})
