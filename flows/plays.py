"""The plays that a worker with a device pulls: the same tasks a run on one machine calls, each as a flow of its own.

A job's result is the digest of what it produced, as the message of its Completed state; the record is in the product database.
Its error is an event there. So nothing has to be shared but the database and the artifact store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.cancelling import leave_if_unwanted
from flows.form_fields import seen
from flows.give_back import require_fit
from flows.job_errors import left_behind
from quantplay.errors import InputError
from quantplay.records import Candidate, Digest
from tasks.baseline import baseline as measure_baseline
from tasks.code import require_code_allowed
from tasks.envelope import envelope as choose_envelope
from tasks.evaluate import evaluate as measure_candidate
from tasks.mixed_precision import artifact_of_mix, scan_part
from tasks.mixed_precision import mix as choose_mix
from tasks.ptq import ptq as quantize
from tasks.qat import artifact_of_training
from tasks.qat import train as train_weights
from tasks.runs import require_opened
from tasks.workbench import RunRef

# What the form of a job shows; people do not fill it in.
Run = Annotated[RunRef, seen("Run", "The run, and where its plan and inputs are.")]
Baseline = Annotated[Digest, seen("Baseline", "Key of the run's baseline.")]
Chosen = Annotated[Candidate, seen("Candidate", "What play 2 chose to build.")]
Artifact = Annotated[Digest, seen("Artifact", "Key of the quantized artifact to measure.")]

Short = Annotated[Digest, seen("Artifact", "Key of the quantized artifact that came short.")]
Evaluated = Annotated[Digest, seen("Evaluation", "Key of that artifact's evaluation.")]
Decided = Annotated[Digest, seen("Decision", "Key of the decision that the engineering manager signed under.")]
Part = Annotated[int, seen("Part", "Which part of the scan, from 0.")]
Parts = Annotated[int, seen("Parts", "How many parts the scan has.")]
Scan = Annotated[Digest, seen("Sensitivity", "Key of what the scan found.")]
Envelope = Annotated[Digest, seen("Envelope", "Key of what play 2 chose.")]
Choice = Annotated[Digest | None, seen("Mix", "Key of the chosen mix.")]
Trained = Annotated[Digest | None, seen("Training", "Key of the training.")]
StartedFrom = Annotated[Digest | None, seen("Artifact", "Key of the artifact that training started from.")]


def job_name() -> str:
    """The first characters of the run's id: what a person looks for."""
    run: Any = flow_run.parameters["run"]
    return f"{str(run['run'] if isinstance(run, dict) else run.run)[:8]}"


OPTIONS: dict[str, Any] = {"flow_run_name": job_name, "persist_result": False, "validate_parameters": True}


@flow(name="baseline-job", description="Play 1 of a run, on this worker's device.", **OPTIONS)
def baseline_job(run: Run) -> State[str]:
    """Measure the full-precision model of `run`, or find that it is measured; its baseline's key."""
    return done(run, None, lambda: measure_baseline(run))


@flow(name="envelope-job", description="Play 2 of a run, on the machine that measures.", **OPTIONS)
def envelope_job(run: Run, baseline: Baseline) -> State[str]:
    """Choose what to build for `run`; the choice's key."""
    return done(run, baseline, lambda: choose_envelope(run))


@flow(name="ptq-job", description="Play 3 of a run, on this worker's device.", **OPTIONS)
def ptq_job(run: Run, baseline: Baseline, candidate: Chosen) -> State[str]:
    """Quantize the model of `run` to the candidate's type; the artifact's key."""
    return done(run, baseline, lambda: quantize(run, candidate))


@flow(name="evaluate-job", description="Play 4 of a run, on this worker's device.", **OPTIONS)
def evaluate_job(run: Run, baseline: Baseline, artifact: Artifact) -> State[str]:
    """Measure an artifact of `run` against its baseline; the evaluation's key."""
    return done(run, baseline, lambda: measure_candidate(run, baseline, artifact))


@flow(name="scan-job", description="A part of play 5's scan, on this worker's device.", **OPTIONS)
def scan_job(run: Run, baseline: Baseline, artifact: Short, part: Part, parts: Parts) -> State[str]:
    """Measure what one part of the groups suffers; the key of what was measured."""
    return done(run, baseline, lambda: scan_part(run, artifact, part, parts))


@flow(name="mix-job", description="Play 5 of a run after its scan, on this worker's device.", **OPTIONS)
def mix_job(run: Run, baseline: Baseline, sensitivity: Scan, artifact: Short, envelope: Envelope) -> State[str]:
    """Choose every group's type by mixes made and measured; the choice's key."""
    return done(run, baseline, lambda: choose_mix(run, sensitivity, artifact, envelope))


@flow(name="train-job", description="Play 6 of a run, on this worker's device.", **OPTIONS)
def train_job(run: Run, artifact: Short, evaluation: Evaluated, decision: Decided) -> State[str]:
    """Train from the artifact that came short, on whatever device there is; the training's key."""
    return done(run, None, lambda: train_weights(run, artifact, evaluation, decision))


@flow(name="make-job", description="The file of a mix or of trained weights, on this worker's device.", **OPTIONS)
def make_job(
    run: Run, baseline: Baseline, mix: Choice = None, training: Trained = None, artifact: StartedFrom = None
) -> State[str]:
    """Make the file that play 5 or 6 decided on; the artifact's key."""
    if mix is not None:
        return done(run, baseline, lambda: artifact_of_mix(run, mix))
    if training is None or artifact is None:
        raise InputError(
            "a make-job has nothing to make", allowed="`mix`, or `training` with `artifact`",
            fix="start a run instead (`quantplay run`, or the form): it sends its own jobs",
        )  # fmt: skip
    return done(run, baseline, lambda: artifact_of_training(run, training, artifact))


def done(run: RunRef, baseline: Digest | None, play: Callable[[], Digest]) -> State[str]:
    """Do it here if this machine may; the job's last state, with the key as its message."""
    with left_behind():
        leave_if_unwanted()
        require_opened(run)
        require_code_allowed(run.read())
        require_fit(run, baseline)
        return Completed(message=play())
