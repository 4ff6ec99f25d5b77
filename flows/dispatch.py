"""Heavy plays, here or elsewhere: as tasks of this process, or as jobs that the workers of `settings().pool` pull.

A job's key holds the flow run that sends it, the play and its inputs. A flow run that starts again finds the jobs it sent
before: one that runs is waited for, one that is done is not sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.runtime import flow_run

from flows.cancelling import cancel_this_run
from flows.fitting import require_worker
from flows.give_back import hardware_of
from flows.job_errors import error_of
from flows.jobs import Job, await_job, find_or_send
from quantplay.digest import digest_of, is_digest
from quantplay.errors import ChildProcessFailed, IntegrityError, QuantplayError
from quantplay.records import Candidate, Digest
from quantplay.settings import settings
from tasks.baseline import baseline as measure_baseline
from tasks.envelope import envelope as choose_envelope
from tasks.evaluate import evaluate as measure_candidate
from tasks.progress import announce
from tasks.ptq import ptq as quantize
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
    small = keys if baseline is None else {"baseline": baseline, **keys}
    deployment = f"{play}-job/{pool()}"
    key = result_of(deployment, {"run": run.body(), **small})
    require_recorded(play, deployment, key)
    announce(play, "done")
    return key


def require_recorded(play: str, deployment: str, key: str) -> None:
    """A job's state can be set by hand in Prefect; only the product database says what was done. Raises IntegrityError."""
    store = workbench().store
    find = {
        "baseline": store.get_baseline, "envelope": store.get_envelope, "ptq": store.get_artifact,
        "evaluate": store.get_evaluation,
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
    sender = flow_run.get_id()
    identity = digest_of({"sender": sender, "deployment": deployment, "parameters": dict(parameters)})
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
