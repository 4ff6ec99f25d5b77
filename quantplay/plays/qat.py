"""Play 6, quantization-aware training: from the artifact that fell short to one of the same types, rounded from trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantplay import process
from quantplay.errors import InputError
from quantplay.plan import Plan
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.qat.formats import format_of
from quantplay.qat.teacher import pick_precision
from quantplay.records import Artifact, Recipe, Training, TrainingSettings


def settings_of(plan: Plan, *, threads: int) -> TrainingSettings:
    """What the plan says about training. Raises InputError where it says nothing."""
    asked = plan.training
    if asked is None:
        raise InputError(
            "the plan does not say how to train", fix="add a section `training:` with file, steps and learning_rate"
        )
    return TrainingSettings(
        steps=asked.steps, learning_rate=asked.learning_rate, rows=asked.rows, row_tokens=asked.row_tokens,
        micro_rows=asked.micro_rows,
        gradient_checkpointing=asked.gradient_checkpointing, checkpoint_every=asked.checkpoint_every, patience=asked.patience, seed=asked.seed, threads=threads,
    )  # fmt: skip


def placed(settings: TrainingSettings, *, accelerators: Sequence[str]) -> TrainingSettings:
    """With the device and the precision that this machine takes where the plan leaves them open: other ones give other weights.

    accelerators: this machine's. Where there are some, a child process is asked, because only torch knows whether it can use
    them. Raises MissingDependency where the device asked for is not here.
    """
    if settings.device == "cpu" or (settings.device is None and not accelerators):
        return settings.model_copy(update={"device": "cpu", "precision": settings.precision or pick_precision("cpu")})
    asked = {"device": settings.device, "precision": settings.precision}
    found = process.run("quantplay.qat.teacher:place_job", asked, threads=1).value
    return settings.model_copy(update=found)


def grid_recipe(recipe: Recipe, artifact: Artifact) -> Recipe:
    """The recipe of what training simulates: every tensor stored as it is in `artifact`, rounded as an export rounds it.

    Raises InputError where weights can't be trained for the artifact's format.
    """
    return format_of(artifact.format).exact_recipe(recipe, artifact).model_copy(update={"trained": None})


def trained_recipe(recipe: Recipe, artifact: Artifact, training: Training) -> Recipe:
    """How the trained artifact is made; `recipe` and `artifact` are those training started from."""
    return grid_recipe(recipe, artifact).model_copy(update={"trained": training.weights})


def train(
    settings: TrainingSettings, pinned: Pinned, *, artifact: Artifact, recipe: Recipe, reference: Path | None, workdir: Path, out: Path,
    kept: Path | None = None, on_progress: Report | None = None,
) -> Training:  # fmt: skip
    """Train the full-precision weights so that they are good once rounded to the types of `artifact`; write them to `out`.

    settings: of `placed`. reference: full-precision file of the source model, where the format converts it. workdir: holds the checkpoint; a training that was killed goes on when it is
    called with the same one. In a child process. Raises InputError on texts that hold what the evaluation asks, and where the loss
    is no number any more.
    """
    if pinned.paths.training is None or pinned.inputs.training is None:
        raise InputError("the plan names no training texts", fix="add `training: {file: ...}`")
    paths = pinned.paths
    outcome = process.run(
        "quantplay.qat.job:train_job",
        {
            "model": str(paths.model), "model_content": pinned.inputs.model.content, "reference": str(reference or ""),
            "recipe": grid_recipe(recipe, artifact).body(), "artifact": artifact.body(), "calibration": str(paths.calibration),
            "data": str(paths.training), "data_content": pinned.inputs.training.content, "gate": str(paths.gate),
            "dev": str(paths.dev), "heldout": str(paths.heldout), "settings": settings.body(),
            "workdir": str(workdir), "out": str(out), "kept": str(kept or workdir),
        },
        threads=settings.threads, on_progress=on_progress,
    )  # fmt: skip
    return Training.model_validate(outcome.value)


def export(
    recipe: Recipe, pinned: Pinned, *, weights: Path, reference: Path | None, out: Path, cache: Path, scratch: Path,
    kept: Path | None = None, on_progress: Report | None = None,
) -> Artifact:  # fmt: skip
    """Round the trained `weights` once, as `recipe` (of `trained_recipe`) says; raises IntegrityError where a served integer is not
    the simulated one. reference: as for `train`. In a child process.
    """
    outcome = process.run(
        "quantplay.qat.export:export_job",
        {
            "recipe": recipe.body(), "model": str(pinned.paths.model), "reference": str(reference or ""),
            "calibration": str(pinned.paths.calibration), "weights": str(weights), "out": str(out), "cache": str(cache),
            "scratch": str(scratch), "kept": str(kept or scratch),
        },
        threads=recipe.threads, on_progress=on_progress,
    )  # fmt: skip
    return Artifact.model_validate(outcome.value)
