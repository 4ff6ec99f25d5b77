"""Rules between the parts of a plan, and the model it names. Nothing here reads a data set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from quantplay import evalset
from quantplay.errors import Fault, InputError
from quantplay.evalset.sources import HUB_ID
from quantplay.formats import TYPES, types_of
from quantplay.plan import WAIVABLE, Deviation, Envelope, EvaluationSet, Gate, ModelSource, Tolerance
from quantplay.plan_file import Place, PlanFile, close_to

RESERVED_SLICE = "hardest"
SERIOUS_BITS = 4  # fewer want a quality budget and a way to train


def profile_warnings(file: PlanFile, profile: str) -> Iterator[Fault]:
    if profile == "explore":
        yield file.fault(("profile",), "profile: explore never ends in a package that may be released", value=profile)


def gate_faults(file: PlanFile, gate: Gate) -> Iterator[Fault]:
    tolerances: dict[str, Tolerance] = {f"slices.{name}": tolerance for name, tolerance in gate.slices.items()}
    tolerances["hardest"] = gate.hardest
    for name, tolerance in tolerances.items():
        place: Place = ("gate", *name.split(".", 1))
        if tolerance.broken_drop <= tolerance.max_drop:
            yield file.fault(
                (*place, "broken_drop"),
                f"gate.{name}.broken_drop: is not above max_drop, so nothing could ever be close",
                value=f"broken_drop {tolerance.broken_drop:g}, max_drop {tolerance.max_drop:g}",
                allowed=f"more than {tolerance.max_drop:g}",
                fix=f"twice max_drop is usual: `broken_drop: {2 * tolerance.max_drop:g}`",
            )
    hardest = gate.hardest
    if hardest.broken_loss_rise <= hardest.max_loss_rise:
        yield file.fault(
            ("gate", "hardest", "broken_loss_rise"),
            "gate.hardest.broken_loss_rise: is not above max_loss_rise",
            value=f"broken_loss_rise {hardest.broken_loss_rise:g}, max_loss_rise {hardest.max_loss_rise:g}",
            allowed=f"more than {hardest.max_loss_rise:g}",
            fix=f"`broken_loss_rise: {2 * hardest.max_loss_rise:g}`",
        )


def slice_name_faults(file: PlanFile, evaluation: EvaluationSet | None, gate: Gate | None) -> Iterator[Fault]:
    """The plan describes exactly the slices it gates, and none has the name the gate gives to the hardest items."""
    described = dict(evaluation.slices) if evaluation else {}
    if RESERVED_SLICE in described:
        yield file.fault(
            ("evaluation", "slices", RESERVED_SLICE),
            f"evaluation.slices.{RESERVED_SLICE}: this name is taken by the hardest share of all items",
            value=RESERVED_SLICE,
            fix="give the slice another name, here and in the data",
        )
    if evaluation is None or gate is None:
        return
    for name in gate.slices:
        if name not in described:
            near = close_to(name, described)
            yield file.fault(
                ("gate", "slices", name),
                f"gate.slices.{name}: the plan describes no such slice",
                value=name,
                allowed=", ".join(described),
                fix=f"did you mean `{near}`?"
                if near
                else f"describe it under `evaluation.slices.{name}:`, or remove it",
            )
    for name in described:
        if name not in gate.slices and close_to(name, set(gate.slices) - set(described)) is None:
            yield file.fault(
                ("evaluation", "slices", name),
                f"evaluation.slices.{name}: the gate has no tolerance for this slice",
                value=name,
                allowed=", ".join(gate.slices),
                fix=f"add `{name}: {{max_drop: ..., broken_drop: ...}}` under `gate.slices:`",
            )


def deviation_faults(file: PlanFile, deviations: Sequence[Deviation]) -> Iterator[Fault]:
    """A waiver of a rule that does not exist waives nothing, and two of one rule leave open which reason counts."""
    for position, deviation in enumerate(deviations):
        place: Place = ("deviations", position, "rule")
        label = f"deviations[{position + 1}].rule"
        if deviation.rule not in WAIVABLE:
            near = close_to(deviation.rule, WAIVABLE)
            yield file.fault(
                place,
                f"{label}: there is no such rule",
                value=deviation.rule,
                allowed=", ".join(WAIVABLE),
                fix=f"did you mean `{near}`?" if near else "remove it: only a rule that can stop a run needs a waiver",
            )
        elif any(deviation.rule == other.rule for other in deviations[:position]):
            yield file.fault(
                place, f"{label}: is waived twice", value=deviation.rule, fix="keep one of the two reasons"
            )


def envelope_faults(file: PlanFile, envelope: Envelope) -> Iterator[Fault]:
    known = types_of(envelope.runtime)
    for position, name in enumerate(envelope.types):
        place: Place = ("envelope", "types", position)
        label = f"envelope.types[{position + 1}]"
        if name not in known:
            near = close_to(name, known)
            elsewhere = name in TYPES
            what = f"{label}: {envelope.runtime} can't run this type" if elsewhere else f"{label}: unknown serving type"
            yield file.fault(
                place, what, value=name, allowed=", ".join(known), fix=f"did you mean `{near}`?" if near else None
            )
        elif known[name].nominal_bits >= 32:
            yield file.fault(
                place,
                f"{label}: is full precision, which every candidate is compared with",
                value=name,
                allowed=", ".join(kind for kind in known if known[kind].nominal_bits < 32),
            )
        elif name in envelope.types[:position]:
            yield file.fault(place, f"{label}: stands twice in the list", value=name, fix="remove one of the two")


def envelope_warnings(file: PlanFile, envelope: Envelope) -> Iterator[Fault]:
    known = types_of(envelope.runtime)
    for position, name in enumerate(envelope.types):
        if name in known and known[name].nominal_bits < SERIOUS_BITS:
            yield file.fault(
                ("envelope", "types", position),
                f"envelope.types[{position + 1}]: fewer than {SERIOUS_BITS} bits usually cost quality",
                value=f"{name}, {known[name].bits_per_weight:g} bits a weight",
                fix="have a quality budget, and a plan for training should it break",
            )


def model_folder(model: ModelSource, base: Path) -> Path:
    """Where a local source would lie; unlike Path's own, this expansion of `~` never raises."""
    return base / os.path.expanduser(model.source)  # noqa: PTH111


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long for the file system
        return False


def model_faults(file: PlanFile, model: ModelSource, base: Path) -> Iterator[Fault]:
    """A folder is checked whole; a hub id must have a commit, and is fetched when the plan runs."""
    folder = model_folder(model, base)
    if model.commit is not None:
        if not HUB_ID.fullmatch(model.source) or is_folder(folder):
            yield file.fault(
                ("model", "commit"),
                "model.commit: belongs to a hub id, and this source is a folder",
                value=model.source,
                allowed="org/name, where no folder of that name lies beside the plan",
                fix="remove `commit`; a folder is pinned by the digests of its files",
            )
        return
    if is_folder(folder):
        yield from folder_faults(folder)
    elif HUB_ID.fullmatch(model.source):
        yield file.fault(
            ("model", "source"),
            "model.source: there is no such folder, and a hub id needs the commit it is pinned to",
            value=model.source,
            allowed="a folder relative to the plan, or a hub id with `commit:` of 40 hexadecimal digits",
            fix=f"copy the commit from https://huggingface.co/{model.source}/commits/main; a branch or tag moves",
        )
    else:
        yield file.fault(
            ("model", "source"),
            "model.source: there is no such folder",
            value=str(folder),
            allowed="a folder relative to the plan, or a hub id such as org/name",
        )


def folder_faults(folder: Path) -> Iterator[Fault]:
    """Headers and sizes only: the bytes of the weights are read and digested when a run pins them."""
    try:
        evalset.model_files(folder)
    except InputError as error:
        yield from error.faults or (Fault(where=str(folder), what=error.what, fix=error.fix),)


def model_warnings(file: PlanFile, model: ModelSource, base: Path) -> Iterator[Fault]:
    if model.commit is not None and not is_folder(model_folder(model, base)):
        yield file.fault(
            ("model", "source"), "model.source: is fetched and checked when the plan runs, not now", value=model.source
        )
