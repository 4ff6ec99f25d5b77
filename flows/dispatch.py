"""Heavy plays, here or elsewhere: as tasks of this process, or as jobs that the workers of `settings().pool` pull.

A job's key holds the flow run that sends it, the play and its inputs. A flow run that starts again finds the jobs it sent
before: one that runs is waited for, one that is done is not sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.runtime import flow_run

from flows.cancelling import cancel_job, cancel_this_run
from flows.fitting import require_worker
from flows.give_back import hardware_of
from flows.job_errors import error_of
from flows.jobs import Job, await_job, find_or_send, sent_before
from quantplay.digest import digest_of, is_digest
from quantplay.errors import ChildProcessFailed, IntegrityError, QuantplayError
from quantplay.records import Candidate, Digest
from quantplay.settings import settings
from tasks.baseline import baseline as measure_baseline
from tasks.envelope import envelope as choose_envelope
from tasks.evaluate import evaluate as measure_candidate
from tasks.mixed_precision import artifact_of_mix as make_mix
from tasks.mixed_precision import mix as choose_mix
from tasks.mixed_precision import scan_parts, sensitivity_key, sensitivity_of_parts
from tasks.mixed_precision import sensitivity as measure_sensitivity
from tasks.progress import announce
from tasks.ptq import ptq as quantize
from tasks.qat import artifact_of_training as make_trained
from tasks.qat import train as train_weights
from tasks.sending import send_inputs
from tasks.workbench import RunRef, workbench

SENT_AGAIN = 2  # times a job is sent once more after its worker or its machine went away under it


def prepared(run: RunRef) -> RunRef:
    """The run as its heavy plays take it: as it is where they run here, with its inputs stored where they are sent away."""
    if settings().pool is None:
        return run
    require_worker(run.read(), None, pool())  # before anything is copied
    return send_inputs(run)


def baseline(run: RunRef) -> Digest:
    return send("baseline", run, None) if run.sent else measure_baseline(run)


def envelope(run: RunRef, baseline: Digest) -> Digest:
    return send("envelope", run, baseline) if run.sent else choose_envelope(run)


def ptq(run: RunRef, baseline: Digest, candidate: Candidate) -> Digest:
    return send("ptq", run, baseline, candidate=candidate.body()) if run.sent else quantize(run, candidate)


def evaluate(run: RunRef, baseline: Digest, artifact: Digest) -> Digest:
    return (
        send("evaluate", run, baseline, artifact=artifact) if run.sent else measure_candidate(run, baseline, artifact)
    )


def sensitivity(run: RunRef, baseline: Digest, short: Digest) -> Digest:
    """Here in one part; on the pool's workers in parts whose number follows from the artifact, whoever works by then."""
    if not run.sent:
        return measure_sensitivity(run, short)
    key = sensitivity_key(run, short)
    if workbench().store.get_sensitivity(key) is not None:
        return measure_sensitivity(run, short)  # found, not measured
    parts = scan_parts(run, short)
    keys = [{"artifact": short, "part": part, "parts": parts} for part in range(parts)]
    for one in keys:  # all of them, before any is waited for
        send_ahead("scan", run, baseline, **one)
    try:
        found = [send("scan", run, baseline, **one) for one in keys]
    except BaseException:
        for one in keys:  # what nobody waits for must not hold the devices
            cancel_ahead("scan", run, baseline, **one)
        raise
    return sensitivity_of_parts(run, short, found)


def mix(run: RunRef, baseline: Digest, *, sensitivity: Digest, short: Digest, envelope: Digest) -> Digest:
    if run.sent:
        return send("mix", run, baseline, sensitivity=sensitivity, artifact=short, envelope=envelope)
    return choose_mix(run, sensitivity, short, envelope)


def artifact_of_mix(run: RunRef, baseline: Digest, choice: Digest) -> Digest:
    return send("make", run, baseline, mix=choice) if run.sent else make_mix(run, choice)


def train(run: RunRef, short: Digest, *, evaluation: Digest, decision: Digest) -> Digest:
    if run.sent:
        return send("train", run, None, artifact=short, evaluation=evaluation, decision=decision)
    return train_weights(run, short, evaluation, decision)


def artifact_of_training(run: RunRef, baseline: Digest, *, training: Digest, short: Digest) -> Digest:
    if run.sent:
        return send("make", run, baseline, training=training, artifact=short)
    return make_trained(run, training, short)


def pool() -> str:
    name = settings().pool
    assert name is not None
    return name


def send(play: str, run: RunRef, baseline: Digest | None, **keys: Any) -> Digest:
    """Have a worker do `play`; the key of what it produced.

    Raises what the job raised. Raises InputError at once where no living worker has the hardware.
    """
    require_worker(run.read(), hardware_of(baseline), pool())
    announce(play, f"sent to pool {pool()}")
    deployment, parameters = job_for(play, run, baseline, keys)
    key = result_of(deployment, parameters)
    require_recorded(play, deployment, key)
    announce(play, "done")
    return key


def send_ahead(play: str, run: RunRef, baseline: Digest | None, **keys: Any) -> None:
    """Put a job into its queue without waiting for it; `send` with the same keys finds it there."""
    require_worker(run.read(), hardware_of(baseline), pool())
    deployment, parameters = job_for(play, run, baseline, keys)
    find_or_send(deployment, parameters, f"{identity_of(deployment, parameters)}-0")


def cancel_ahead(play: str, run: RunRef, baseline: Digest | None, **keys: Any) -> None:
    """Cancel the job that `send_ahead` sent with the same keys, unless it has ended."""
    deployment, parameters = job_for(play, run, baseline, keys)
    job = sent_before(f"{identity_of(deployment, parameters)}-0")
    if job is not None and not job.ended:
        cancel_job(job.id)


def job_for(play: str, run: RunRef, baseline: Digest | None, keys: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name of the deployment and parameters of its job."""
    small = dict(keys) if baseline is None else {"baseline": baseline, **keys}
    return f"{play}-job/{pool()}", {"run": run.body(), **small}


def identity_of(deployment: str, parameters: Mapping[str, Any]) -> str:
    """What finds a job again: the flow run that sends it, the play and its inputs."""
    return digest_of({"sender": flow_run.get_id(), "deployment": deployment, "parameters": dict(parameters)})


def require_recorded(play: str, deployment: str, key: str) -> None:
    """A job's state can be set by hand in Prefect; only the product database says what was done. Raises IntegrityError."""
    store = workbench().store
    find = {
        "baseline": store.get_baseline, "envelope": store.get_envelope, "ptq": store.get_artifact,
        "evaluate": store.get_evaluation, "scan": store.get_scan_part, "mix": store.get_mix, "make": store.get_artifact,
        "train": store.get_training,
    }[play]  # fmt: skip
    if not is_digest(key) or find(key) is None:
        raise IntegrityError(
            f"{deployment} is completed, and the product database has no such result", value=key or "no message",
            allowed="the key of what the job recorded",
            fix="nothing may set a job's state but its worker, and workers need this very database; run the plan again",
        )  # fmt: skip


def result_of(deployment: str, parameters: Mapping[str, Any], queue: str | None = None) -> str:
    """Send a job to its deployment, wait for it, and give the message of its Completed state.

    A failed job's own error is raised here. A job that crashed is sent again, at most twice, and so is one whose heavy child
    process was killed; a cancelled one cancels. queue: where it waits, by default that of the sender.
    """
    identity = identity_of(deployment, parameters)
    crashes = number = 0
    while True:
        job = find_or_send(deployment, parameters, f"{identity}-{number}", queue)
        number += 1
        if job.ended and job.state != "completed":
            continue  # sent by an earlier start of this flow run, which is tried again now
        job = await_job(job)
        if job.state == "completed":
            return job.message
        error = error_of(str(job.id)) if job.state == "failed" else None
        if error is not None and not isinstance(error, ChildProcessFailed):
            raise error
        if job.state == "cancelled":
            raise cancelled(job)
        crashes += 1
        if crashes > SENT_AGAIN:
            if error is not None:
                raise error
            raise ChildProcessFailed(
                f"{deployment} ended {crashes} times without a result, on whatever worker it ran", value=job.message,
                fix=f"the job's own page says more: flow run {job.id}; `quantplay run` again goes on where this stopped",
            )  # fmt: skip


def cancelled(job: Job) -> QuantplayError:
    cancel_this_run()
    return QuantplayError(
        "a job of this run was cancelled in Prefect", value=f"flow run {job.id}",
        fix="`quantplay run` again goes on where this stopped",
    )  # fmt: skip
