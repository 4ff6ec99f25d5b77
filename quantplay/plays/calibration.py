"""Before play 1: the calibration set against its rules, with the plan's waivers; and what a finding looks like as a fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantplay import evalset
from quantplay.calibration import Against, check_calibration
from quantplay.errors import Fault, InputError
from quantplay.plan import Plan
from quantplay.plan_file import Place, PlanFile
from quantplay.plays.check_rules import is_folder, model_folder
from quantplay.plays.check_sets import Sets
from quantplay.plays.pin import CALIBRATION_FILE, Pinned
from quantplay.records import CalibrationCheck, CalibrationFinding

TOKENIZER = "tokenizer.json"
PLACES: dict[str, Place] = {
    "calibration.count": ("calibration", "samples"),
    "calibration.giant_documents": ("calibration", "tokens"),
    "calibration.domain": ("calibration", "traffic"),
}
"""Which line of the plan a finding belongs to; all others: the file's."""
MEND: dict[str, str] = {
    "calibration.count": "add samples, or use fewer: `calibration.samples`",
    "calibration.duplicates": "remove the repeats",
    "calibration.near_duplicates": "keep one of each group",
    "calibration.giant_documents": "cut them into samples of their own, or raise `calibration.tokens`",
    "calibration.length_variety": "add samples as short and as long as real requests are",
    "calibration.topic_variety": "add samples about the other things the model is asked",
    "calibration.overlap": "remove these samples (`quantplay check --json` names every one); questions that steered the quantizer don't test it",
    "calibration.domain": "draw the samples from recent traffic",
}
SHOWN = 5  # ids in a fault


def check_pinned(plan: Plan, pinned: Pinned) -> CalibrationCheck:
    """The check of a run, over the pinned files. Raises InputError where one of them can't be read."""
    paths = pinned.paths
    return check_calibration(
        evalset.read_texts(paths.calibration)[: plan.calibration.samples],
        Against(
            evaluation={"gate": evalset.read_items(paths.gate), "dev": evalset.read_items(paths.dev)},
            heldout=evalset.read_texts(paths.heldout),
            traffic=evalset.read_texts(paths.traffic) if paths.traffic else None,
        ),
        calibration=pinned.inputs.calibration.content,
        tokens=plan.calibration.tokens,
        tokenizer=tokenizer_in(paths.model),
        deviations=plan.deviations,
    )


def calibration_of(file: PlanFile, sets: Sets, base: Path) -> CalibrationCheck | None:
    """The check before a run, with whatever could be read; None where the samples themselves could not."""
    calibration, model = file.parts.get("calibration"), file.parts.get("model")
    if calibration is None or not sets.calibration:
        return None
    splits = {"gate": sets.gate, "dev": sets.dev}
    path = base / calibration.file
    return check_calibration(
        sets.calibration[: calibration.samples],
        Against(
            evaluation={name: items for name, items in splits.items() if items is not None},
            heldout=sets.heldout or (),
            traffic=sets.traffic,
        ),
        calibration=evalset.manifest_of_files("calibration", {CALIBRATION_FILE: path}, calibration.file).content,
        tokens=calibration.tokens,
        tokenizer=tokenizer_in(model_folder(model, base)) if model is not None else None,
        deviations=file.parts.get("deviations") or (),
    )


def tokenizer_in(model: Path) -> Path | None:
    """The model's tokenizer where it can be loaded without the model."""
    return model / TOKENIZER if is_folder(model) and (model / TOKENIZER).is_file() else None


def require_fit(check: CalibrationCheck) -> None:
    """Raise InputError with every finding that the plan does not waive."""
    if check.open:
        raise InputError(
            "the calibration set is not fit to steer the quantizer",
            faults=[Fault(where=finding.rule, **words_of(finding)) for finding in check.open],
            fix="mend the set, or write why it is good enough under `deviations:` in the plan; a new run then records the reason",
        )


def finding_faults(file: PlanFile, check: CalibrationCheck | None) -> Iterator[Fault]:
    for finding in check.open if check else ():
        said = words_of(finding)
        yield file.fault(
            PLACES.get(finding.rule, ("calibration", "file")), f"{finding.rule}: {said.pop('what')}", **said
        )


def words_of(finding: CalibrationFinding) -> dict[str, str]:
    """A finding in the words of a fault: what, value, allowed, fix."""
    unnamed = finding.samples and not any(name in finding.value for name in finding.samples)
    some = ", ".join(finding.samples[:SHOWN])
    return {
        "what": finding.what[:1].lower() + finding.what[1:].rstrip("."),
        "value": f"{finding.value}: {some}" if unnamed else finding.value,
        "allowed": finding.allowed,
        "fix": f"{MEND[finding.rule]}; or accept it: `deviations: [{{rule: {finding.rule}, reason: ...}}]`",
    }


def idle_waivers(file: PlanFile, check: CalibrationCheck | None) -> Iterator[Fault]:
    """Waivers of calibration rules that found nothing."""
    if check is None:
        return
    found = {finding.rule for finding in check.findings}
    for position, deviation in enumerate(file.parts.get("deviations") or ()):
        if deviation.rule in MEND and deviation.rule not in found:
            yield file.fault(
                ("deviations", position),
                f"deviations[{position + 1}]: waives nothing, the calibration set has no such defect",
                value=deviation.rule,
                fix="remove it",
            )
