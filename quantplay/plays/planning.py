"""Play 2 as people and runs ask for it: probe this machine, or take another chip from the table, and choose."""

from __future__ import annotations

from pathlib import Path

from quantplay import process
from quantplay.envelope.accelerators import row_of
from quantplay.envelope.chips import Chip, find_chip, machine_of
from quantplay.envelope.choose import choose, order_for, require_known
from quantplay.envelope.fitting import mismatch
from quantplay.envelope.hardware import measure_fingerprint, read_hardware
from quantplay.envelope.planner import FULL, MOST_PROBED, probed_types
from quantplay.envelope.shape import ModelShape, read_shape
from quantplay.errors import InputError, PlanError
from quantplay.gate.target import HERE, check_target, chip_of, plain
from quantplay.plan import Envelope
from quantplay.plan_file import PlanFile, count, load_plan
from quantplay.plays.check_rules import model_folder
from quantplay.process import Report
from quantplay.records import EnvelopeChoice, Machine, Record


class Planned(Record):
    """What `quantplay plan` prints."""

    path: str
    name: str | None
    choice: EnvelopeChoice
    here: bool  # False: planned for a chip that is not here, so nothing of it is measured
    flags: tuple[str, ...]  # sentences somebody should read first


def probe_machine(shape: ModelShape, envelope: Envelope, threads: int, on_progress: Report | None = None) -> Machine:
    """This machine's rates for the types the envelope considers, in a process of its own. About two seconds."""
    kinds = (*(envelope.types or order_for(envelope.runtime)), FULL[envelope.runtime])
    payload = {
        "kinds": list(probed_types(shape, kinds)), "batches": [min(MOST_PROBED, envelope.batch)], "hidden": shape.hidden,
        "head_dim": shape.head_dim, "threads": threads,
    }  # fmt: skip
    outcome = process.run("quantplay.envelope.probe:probe_job", payload, threads=threads, on_progress=on_progress)
    return Machine.model_validate(outcome.value)


def plan_file(
    path: Path, threads: int, *, target: str | None = None, runtime: str | None = None, on_progress: Report | None = None
) -> Planned:  # fmt: skip
    """Plan for the plan in `path`: nothing is built, and no weight is read.

    target: a chip of the table instead of the plan's; runtime: instead of the plan's. Raises PlanError where the parts that
    matter have faults, InputError on an unknown chip or a model whose config can't be read.
    """
    file = load_plan(path)
    envelope, model = file.parts.get("envelope"), file.parts.get("model")
    if envelope is None or model is None:
        raise PlanError(
            f"{path} does not say enough to plan: {count(len(file.faults))}", faults=file.faults,
            fix=f"mend `model` and `envelope`, then `quantplay plan {path}`",
        )  # fmt: skip
    name, chip = where(envelope, target)
    here = chip is None or is_here(name, envelope)
    envelope = adapted(envelope, chip, runtime)
    require_known(envelope.types, envelope.runtime)
    folder = model_folder(model, path.parent)
    if not folder.is_dir():
        raise InputError(
            "the model's folder is not here", value=folder, allowed="a folder with config.json",
            fix="a hub source is fetched when the plan runs; put its config.json into a folder to plan before that",
        )  # fmt: skip
    shape = read_shape(folder, need_weights=False)
    machine = machine_of(name, chip) if chip else probe_machine(shape, envelope, threads, on_progress)
    choice = choose(
        envelope, folder, measure_fingerprint(threads), machine=machine, chip=chip, gate=file.parts.get("gate"),
        case=file.parts.get("business_case"), shape=shape,
    )  # fmt: skip
    return Planned(
        path=str(path), name=file.plan.name if file.plan else None, choice=choice, here=here,
        flags=tuple(flags(file, envelope, name, choice, here=here)),
    )  # fmt: skip


def where(envelope: Envelope, target: str | None) -> tuple[str, Chip | None]:
    """The chip to plan for and its row of the table; None where that is this machine's."""
    hardware = read_hardware()
    here = chip_of(envelope, hardware)
    wanted = target or envelope.target_chip
    same = wanted is not None and check_target(envelope.model_copy(update={"target_chip": wanted}), here).same
    if wanted is not None and plain(wanted) != HERE and not same:
        return find_chip(wanted)
    if envelope.device == "gpu" and hardware.accelerators and (row := row_of(here)) is not None:
        return row  # kernels of a GPU are not probed: its datasheet's numbers
    return here, None


def adapted(envelope: Envelope, chip: Chip | None, runtime: str | None) -> Envelope:
    """The envelope for another chip or runtime: types of a runtime that is not the plan's are dropped."""
    changes: dict[str, object] = {"device": chip.kind} if chip else {}
    if runtime is not None and runtime != envelope.runtime:
        changes |= {"runtime": runtime, "types": ()}
    return Envelope.model_validate(envelope.model_dump() | changes)


def is_here(name: str, envelope: Envelope) -> bool:
    """Whether a row of the table is this machine's own device."""
    row = row_of(chip_of(envelope, read_hardware()))
    return row is not None and row[0] == name


def flags(file: PlanFile, envelope: Envelope, name: str, choice: EnvelopeChoice, *, here: bool) -> list[str]:
    found = []
    if not here:
        found.append(
            f"Planned for {name} by its datasheet, which is not this machine: nothing here is measured. A run measures on the chip "
            "that serves, or its plan says why not."
        )
    why = mismatch(envelope, tuple(one.type for one in choice.candidates))
    if why is not None:
        found.append(f"The format does not follow from where the model will run. {why}")
    if file.faults:
        found.append(f"The plan has {count(len(file.faults))} elsewhere; `quantplay check {file.path}` lists them.")
    return found
