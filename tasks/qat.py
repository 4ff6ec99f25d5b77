"""Play 6: train the weights for the types they are served in, and round them once."""

from __future__ import annotations

import shutil
from pathlib import Path

from prefect import task

from quantplay.engines.model_file import SUFFIX
from quantplay.envelope.jobs import LESS_TO_TRAIN, require_memory, training_bytes
from quantplay.envelope.shape import read_shape
from quantplay.errors import InputError, IntegrityError
from quantplay.formats import FORMATS
from quantplay.plays import keys, qat
from quantplay.plays.qat import placed, settings_of, trained_recipe
from quantplay.process import Report
from quantplay.qat.train import CHECKPOINT
from quantplay.records import Artifact, Digest, Training
from tasks.artifacts import make_once
from tasks.checkpoints import Checkpoints
from tasks.device import on_device
from tasks.locked_files import verified
from tasks.options import PLAY
from tasks.progress import announce, reporter
from tasks.recorded import recorded, recorded_artifact, refused, require_of_run
from tasks.reference import full_precision
from tasks.showing import show_training
from tasks.signoffs import asks, stands
from tasks.workbench import RunRef, once, workbench

WEIGHTS = "weights.safetensors"


@task(name="training", **PLAY)
def train(run: RunRef, artifact_key: Digest, evaluation_key: Digest, decision_key: Digest) -> Digest:
    """Train from the artifact that came short (or look it up); returns the key of the Training. Its weights are in the artifact store.

    A training that was killed goes on from its last checkpoint, on this machine or, where it was sent to a worker, in the artifact
    store. evaluation_key, decision_key: of that artifact, which
    the engineering manager signed under. Raises InputError without that signature.
    """
    bench, plan = workbench(), run.read()
    short, recipe = recorded_artifact(artifact_key)
    require_signed(run, short, evaluation_key, decision_key)
    settings = placed(settings_of(plan, threads=bench.threads), accelerators=bench.fingerprint.hardware.accelerators)
    key = keys.training_key(run.inputs, short, recipe, settings)

    def find(_: Digest) -> Training | None:
        found = bench.store.get_training(key)
        return found if found is not None and bench.artifacts.exists(found.weights) else None

    workdir = bench.settings.home / "trainings" / key

    checkpoints = Checkpoints(bench.store, bench.artifacts, key, workdir / CHECKPOINT)

    def trained(out: Path, on_progress: Report) -> Training:
        return qat.train(
            settings, run.pinned(), artifact=short, recipe=recipe, reference=converted(run, short), workdir=workdir, out=out,
            kept=bench.importance, on_progress=on_progress,
        )  # fmt: skip

    def make() -> Training:
        require_memory("training", training_bytes(read_shape(run.paths().model), settings), fix=LESS_TO_TRAIN)
        workdir.mkdir(parents=True, exist_ok=True)
        out = workdir / WEIGHTS
        if run.sent:
            if (step := checkpoints.restore()) is not None:
                announce("training", f"goes on from step {step}, whose checkpoint was in the artifact store")
            with checkpoints.followed(reporter("training")) as on_progress:
                made = trained(out, on_progress)
        else:  # this machine's own disk is as safe as its artifact store
            made = trained(out, reporter("training"))
        before = bench.store.get_training(key)  # its weights were lost
        if before is not None and before.weights != made.weights:
            raise IntegrityError(
                "a training whose weights were lost did not come out the same when it was done again", value=made.weights,
                allowed=before.weights, fix="restore the artifact store from a backup",
            )  # fmt: skip
        bench.artifacts.put_file(out)
        return before or made

    show_training(once(run, "training", key, find=find, make=on_device(run, "training", make)))
    shutil.rmtree(workdir, ignore_errors=True)  # only now that it is recorded: a kill before must not cost the training
    checkpoints.forget()
    return key


def require_signed(run: RunRef, short: Artifact, evaluation_key: Digest, decision_key: Digest) -> None:
    """Training costs money: it starts only under the signature the plan asks for, whoever started the job. Raises InputError."""
    store = workbench().store
    evaluation, decision = store.get_evaluation(evaluation_key), store.get_decision(decision_key)
    if (
        evaluation is None or decision is None or decision.evaluation != evaluation.digest() or evaluation.artifact != short.sha256
        or not asks(run.read(), "training") or stands(run, decision, "training", None).state != "approved"
    ):  # fmt: skip
        raise InputError(
            "this training is not signed", value=f"run {run.run[:8]}",
            allowed="a business case in the plan, and the engineering manager's signature under the decision it follows",
            fix=f"`quantplay sign {run.run[:8]} --role engineering_manager --approve`, or start a run: it asks for the signature",
        )  # fmt: skip


@task(name="ptq", **PLAY)
def artifact_of_training(run: RunRef, training_key: Digest, artifact_key: Digest) -> Digest:
    """Round the trained weights once (or look it up); returns the key of the Artifact. artifact_key: where training started."""
    bench, plan = workbench(), run.read()
    training = recorded("training", training_key, bench.store.get_training)
    require_of_run("training", training_key, found=training.model, run=run)
    short, before = recorded_artifact(artifact_key)
    if training.artifact != short.sha256:
        raise refused("the training did not start from this artifact", short.sha256, training.artifact)
    recipe = trained_recipe(before, short, training)
    key = keys.artifact_key(recipe)

    def make(out: Path) -> Artifact:
        weights = verified(bench.artifacts, training.weights, bench.scratch)
        return qat.export(
            recipe, run.pinned(), weights=weights, reference=converted(run, short), out=out, cache=bench.settings.cache,
            scratch=bench.scratch, kept=bench.importance, on_progress=reporter("ptq"),
        )  # fmt: skip

    suffix = FORMATS[recipe.format].suffix or SUFFIX
    make_once(run, key, recipe, make, f"{plan.name}-trained-{recipe.type}{suffix}")
    return key


def converted(run: RunRef, artifact: Artifact) -> Path | None:
    """The source model in the artifact's format; None where that format keeps it as it is."""
    return full_precision(run) if artifact.format == "gguf" else None
