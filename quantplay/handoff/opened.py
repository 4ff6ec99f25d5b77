"""A package read back: every file parsed strictly into the records it was written from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay.errors import Fault, QuantplayError
from quantplay.handoff import layout
from quantplay.handoff.contents import Attempt, PackageContents, Question
from quantplay.handoff.items_file import ItemsFile, read_items_file
from quantplay.handoff.manifest import PackageManifest
from quantplay.handoff.summaries import baseline_with_items, evaluation_with_items
from quantplay.plan import Plan
from quantplay.records import (
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    Digest,
    EnvelopeChoice,
    Evaluation,
    Inputs,
    MixChoice,
    Recipe,
    Record,
    Sensitivity,
    Training,
    Update,
)

LARGEST_JSON = 32 << 20
FURTHER: dict[str, tuple[str, type[Record]]] = {
    layout.SENSITIVITY: ("sensitivity", Sensitivity), layout.MIX: ("mix", MixChoice), layout.TRAINING: ("training", Training),
}  # fmt: skip
"""Records of plays 5 and 6, which only some packages have: file -> field and kind."""


@dataclass(frozen=True, kw_only=True)
class OpenPackage:
    """All records of a package, with their items put back."""

    folder: Path
    manifest: PackageManifest
    plan: Plan
    plan_text: str
    inputs: Inputs
    baseline: Baseline
    baseline_file: dict[str, Any]  # baseline.json: record, digest, key, means
    envelope: EnvelopeChoice
    recipe: Recipe
    artifact: Artifact
    evaluation: Evaluation
    evaluation_file: dict[str, Any]
    decision: Decision
    attempts: tuple[Attempt, ...]
    environment: tuple[str, ...]
    items: ItemsFile
    run: dict[str, Any]
    calibration: CalibrationCheck | None = None  # None in packages older than the check
    update: Update | None = None  # the run it updates
    sensitivity: Sensitivity | None = None  # play 5, where it was tried
    mix: MixChoice | None = None
    training: Training | None = None  # play 6, likewise

    @property
    def baseline_key(self) -> Digest:
        return self.baseline_file["key"]

    @property
    def artifact_path(self) -> Path:
        return self.folder / layout.ARTIFACT_FOLDER / self.artifact.file_name

    @property
    def carries_sources(self) -> bool:
        return (self.folder / layout.SOURCES).is_dir()

    def contents(self) -> PackageContents:
        """What the package was written from."""
        asked = self.items.asked
        return PackageContents(
            run=self.run["run"], plan=self.plan, plan_text=self.plan_text, inputs=self.inputs, baseline=self.baseline,
            baseline_key=self.baseline_key, envelope=self.envelope, recipe=self.recipe, artifact=self.artifact,
            artifact_file=self.artifact_path, evaluation=self.evaluation, decision=self.decision, attempts=self.attempts,
            environment=self.environment, seconds=self.run["seconds"], locked_at=self.run["locked_at"],
            calibration=self.calibration, update=self.update, sensitivity=self.sensitivity, mix=self.mix,
            training=self.training,
            trained_weights=self.folder / layout.SOURCES / layout.TRAINED if self.recipe.trained else None,
            questions={key: Question(prompt=prompt, answer=answer) for key, (prompt, answer) in asked.items()},
            sources={
                one.kind: {file.path: self.folder / layout.SOURCES / one.kind / file.path for file in one.files}
                for one in self.inputs.manifests
            },
        )  # fmt: skip


def open_package(folder: Path, manifest: PackageManifest) -> OpenPackage | list[Fault]:
    """Read every record; all that can't be read comes back as faults."""
    reading = Reading(folder)
    names = (
        layout.PLAN, layout.INPUTS, layout.BASELINE, layout.ENVELOPE, layout.RECIPE, layout.ARTIFACT, layout.EVALUATION,
        layout.DECISION, layout.ATTEMPTS, layout.RUN,
    )  # fmt: skip
    for name in (layout.CALIBRATION, layout.UPDATE, *FURTHER):
        if any(file.path == name for file in manifest.files) or (folder / name).exists():
            names = (*names, name)
    bodies = {name: reading.body(name) for name in names}
    plan_text, environment = reading.text(layout.PLAN_TEXT), reading.text(layout.ENVIRONMENT)
    items = reading.attempt(layout.ITEMS, lambda: read_items_file(folder / layout.ITEMS))
    if reading.faults:
        return reading.faults
    parsed = {
        "plan": reading.attempt(layout.PLAN, lambda: Plan.model_validate(bodies[layout.PLAN])),
        "inputs": reading.attempt(layout.INPUTS, lambda: Inputs.model_validate(bodies[layout.INPUTS])),
        "baseline": reading.attempt(layout.BASELINE, lambda: baseline_with_items(bodies[layout.BASELINE], items.items)),
        "envelope": reading.attempt(layout.ENVELOPE, lambda: EnvelopeChoice.model_validate(bodies[layout.ENVELOPE])),
        "recipe": reading.attempt(layout.RECIPE, lambda: Recipe.model_validate(bodies[layout.RECIPE])),
        "artifact": reading.attempt(layout.ARTIFACT, lambda: Artifact.model_validate(bodies[layout.ARTIFACT])),
        "evaluation": reading.attempt(
            layout.EVALUATION, lambda: evaluation_with_items(bodies[layout.EVALUATION], items.items)
        ),
        "decision": reading.attempt(layout.DECISION, lambda: Decision.model_validate(bodies[layout.DECISION])),
        "attempts": reading.attempt(
            layout.ATTEMPTS, lambda: tuple(Attempt.model_validate(one) for one in bodies[layout.ATTEMPTS])
        ),
    }
    if layout.CALIBRATION in bodies:
        parsed["calibration"] = reading.attempt(
            layout.CALIBRATION, lambda: CalibrationCheck.model_validate(bodies[layout.CALIBRATION])
        )
    if layout.UPDATE in bodies:
        parsed["update"] = reading.attempt(layout.UPDATE, lambda: Update.model_validate(bodies[layout.UPDATE]))
    for name, (field, kind) in FURTHER.items():
        if name in bodies:
            parsed[field] = reading.attempt(name, lambda name=name, kind=kind: kind.model_validate(bodies[name]))
    for name, keys in {layout.RUN: ("run", "seconds", "locked_at", "quantplay"), layout.BASELINE: ("key",)}.items():
        reading.attempt(name, lambda name=name, keys=keys: [bodies[name][key] for key in keys])
    if reading.faults:
        return reading.faults
    return OpenPackage(
        folder=folder,
        manifest=manifest,
        plan_text=plan_text,
        baseline_file=bodies[layout.BASELINE],
        evaluation_file=bodies[layout.EVALUATION],
        environment=tuple(environment.splitlines()),
        items=items,
        run=bodies[layout.RUN],
        **parsed,
    )


class Reading:
    """Reads files of one package and collects what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[Fault] = []

    def attempt(self, name: str, read: Any) -> Any:
        """What `read` gives, or None and a fault."""
        try:
            path = self.folder / name
            if path.is_symlink() or not path.is_file():
                raise FileNotFoundError("missing, or not a plain file")
            if path.suffix != ".parquet" and path.stat().st_size > LARGEST_JSON:
                raise ValueError(f"larger than {LARGEST_JSON} bytes")
            return read()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, QuantplayError) as error:
            self.faults.append(Fault(where=name, what="can't be read as a package's record", value=str(error)))
        except MemoryError:
            self.faults.append(Fault(where=name, what="would take more memory than a check may take"))
        return None

    def body(self, name: str) -> Any:
        return self.attempt(name, lambda: json.loads((self.folder / name).read_bytes()))

    def text(self, name: str) -> Any:
        return self.attempt(name, lambda: (self.folder / name).read_bytes().decode())
