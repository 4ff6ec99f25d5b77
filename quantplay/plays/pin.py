"""Before play 1: every file a run reads is found, read strictly and pinned by its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantplay import evalset
from quantplay.errors import IntegrityError
from quantplay.plan import Plan
from quantplay.records import Inputs, Manifest

CALIBRATION_FILE = "calibration.jsonl"
TRAINING_FILE = "training.jsonl"
"""Names of the sets inside their manifests."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where the inputs lie on this machine."""

    model: Path
    calibration: Path
    gate: Path
    dev: Path
    heldout: Path
    tasks: tuple[Path, ...]  # the team's own lm-eval task files
    allow_code: tuple[str, ...]  # names of those that may run Python
    traffic: Path | None = None  # sample of traffic to compare the calibration set with
    training: Path | None = None  # texts that play 6 trains on

    def evaluation_files(self) -> dict[str, Path]:
        """Name inside the evaluation manifest -> file: the items, and every file that determines a task file's task."""
        found = {"gate.jsonl": self.gate, "dev.jsonl": self.dev}
        for task in self.tasks:
            for number, file in enumerate(evalset.read_task_file(task, self.allow_code).files):
                found[f"tasks/{task.stem}/{number}-{file.name}"] = file
        return found


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """Inputs by digest, and where to read them."""

    inputs: Inputs
    paths: Paths


def locate(plan: Plan, base: Path) -> Paths:
    """Where the inputs of `plan` lie; relative paths start at `base`, the plan's folder."""
    return Paths(
        model=evalset.resolve_model(plan.model, base),
        calibration=base / plan.calibration.file,
        gate=base / plan.evaluation.gate,
        dev=base / plan.evaluation.dev,
        heldout=base / plan.evaluation.heldout,
        traffic=base / plan.calibration.traffic if plan.calibration.traffic else None,
        training=base / plan.training.file if plan.training else None,
        tasks=tuple(base / task for task in plan.evaluation.tasks),
        allow_code=plan.evaluation.allow_code,
    )


def pin(plan: Plan, base: Path) -> Pinned:
    """Read and digest everything `plan` names. Raises InputError with every fault of the first set that can't be used."""
    paths = locate(plan, base)
    data = {manifest.kind: manifest for manifest in pin_data(plan, paths)}
    model = evalset.manifest_of_model(paths.model, plan.model.source, plan.model.commit)
    return Pinned(inputs=Inputs(model=model, **data), paths=paths)


def pin_data(plan: Plan, paths: Paths) -> tuple[Manifest, ...]:
    """Manifests of calibration, evaluation, held-out text, traffic and training texts: small, so they are digested anew before every play."""
    of = evalset.manifest_of_files
    data = [
        of("calibration", {CALIBRATION_FILE: paths.calibration}, plan.calibration.file),
        of("evaluation", paths.evaluation_files(), plan.evaluation.gate),
        of("heldout", {"heldout.jsonl": paths.heldout}, plan.evaluation.heldout),
    ]
    if paths.traffic is not None and plan.calibration.traffic is not None:
        data.append(of("traffic", {"traffic.jsonl": paths.traffic}, plan.calibration.traffic))
    if paths.training is not None and plan.training is not None:
        data.append(of("training", {TRAINING_FILE: paths.training}, plan.training.file))
    return tuple(data)


def require_unchanged(before: Inputs, plan: Plan, paths: Paths, *, model: bool = False) -> None:
    """Raise IntegrityError when a pinned file is no longer what the run started with; `model` re-reads the weights too."""
    now = list(pin_data(plan, paths))
    if model:
        now.append(evalset.manifest_of_model(paths.model, plan.model.source, plan.model.commit))
    for manifest in now:
        old: Manifest = getattr(before, manifest.kind)
        if old.content != manifest.content:
            changed = {(file.path, file.sha256) for file in old.files} ^ {
                (file.path, file.sha256) for file in manifest.files
            }
            raise IntegrityError(
                f"the {manifest.kind} files changed while the run was under way",
                value=", ".join(sorted({path for path, _ in changed})),
                fix="restore the files, or start a new run so that every play sees the same bytes",
            )
