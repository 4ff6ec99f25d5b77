"""How a run begins, goes on and ends in the product database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow, State, get_client, task
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.runtime import deployment, flow_run

from quantplay.errors import IntegrityError, PlanError
from quantplay.outcomes import OUTCOMES
from quantplay.plan_file import read_plan
from quantplay.plays.check import check_plan
from quantplay.plays.imports import required_import
from quantplay.plays.pin import pin
from quantplay.plays.standards import check_of_plan, require_standards, standards_in
from quantplay.plays.target import require_target
from quantplay.records import Digest, Inputs, Manifest, Recommendation
from quantplay.store.signoffs import OPENED
from tasks.code import require_code_allowed
from tasks.options import PLAY
from tasks.plans import is_address, local_plan
from tasks.results import Trail
from tasks.reuse import tell_what_is_there
from tasks.signoffs import run_to_resume
from tasks.updates import note_update, require_updatable
from tasks.workbench import RunRef, workbench


@task(name="pin", **PLAY)
def open_run(plan_path: str, resume: str | None = None) -> RunRef:
    """Pin every input, store plan and gate under their digests, and only then open the run.

    A run of the same plan and inputs goes on instead where this very flow run opened it and is tried again, where it waits for a
    signature, or where its process is gone; `resume`: this run and no other.
    """
    path = local_plan(plan_path)
    if deployment.get_id() is not None:  # the command line has checked it before anything was started
        require_good(path)
    plan = read_plan(path)
    require_code_allowed(plan)
    if workbench().settings.pool is None:  # else it is measured on another machine, chosen by what it has
        require_target(plan, workbench().fingerprint.hardware)
    pinned_now = pin(plan, path.parent)
    inputs = pinned_now.inputs
    store = workbench().store
    for manifest in inputs.manifests:
        store.put_manifest(manifest)
    digest = store.put_plan(plan)
    pinned = pinned_contents(inputs)
    before = run_to_go_on(digest, pinned, resume)
    body = {
        "plan": digest, "gate": plan.gate_digest(), "inputs": pinned, "plan_path": str(path), "deployment": deployment.id,
        "flow_run": flow_run.get_id(), "address": plan_path if is_address(plan_path) else None,
    }  # fmt: skip
    if before is not None and has_ended(before):  # by another process, while this flow run was suspended
        return RunRef(run=str(before), plan_path=str(path), plan=digest, inputs=inputs)
    if before is None:
        required_import(store, plan, inputs)
        require_updatable(store, plan, inputs)
        if (standards := standards_in(workbench().settings.standards)) is not None:
            compared = check_of_plan(plan, pinned_now.paths, standards)
            require_standards(compared, plan, str(path))
            body["standards"] = compared.body()
    run = store.start_run(
        plan=digest, profile=plan.profile, run=before, prefect_flow_run_id=flow_run.get_id(), body=body
    )
    note_update(store, plan, str(run))
    if before is None:
        tell_what_is_there(plan, inputs)
    return RunRef(run=str(run), plan_path=str(path), plan=digest, inputs=inputs)


def pinned_contents(inputs: Inputs) -> dict[str, Digest]:
    """What the event of an opened run holds of its inputs."""
    return {manifest.kind: manifest.content for manifest in inputs.manifests}


def require_good(path: Path) -> None:
    """Raise PlanError with every fault of the plan and of all it points to."""
    report = check_plan(path, measured_here=workbench().settings.pool is None)
    if not report.good:
        raise PlanError(f"{path} can't run", faults=report.faults, fix="mend what is listed, and start again")


def run_to_go_on(plan: Digest, inputs: Mapping[str, Digest], resume: str | None) -> UUID | None:
    """The run that goes on in place of a new one."""
    store, mine = workbench().store, flow_run.get_id()
    own = store.run_of_flow_run(mine) if mine is not None else None
    if own is not None:
        require_the_same(own, plan, inputs)
        return UUID(own)
    waiting = run_to_resume(store, plan, inputs, resume)
    if waiting is not None:
        return UUID(waiting.run)
    return next((row.id for row in store.interrupted_runs(plan) if opened_with(row.id, inputs)), None)


def require_the_same(run: str, plan: Digest, inputs: Mapping[str, Digest]) -> None:
    """A flow run that is resumed or tried again goes on with its own run or with none. Raises IntegrityError."""
    row = workbench().store.get_run(run)
    assert row is not None
    if row.plan != plan or not opened_with(row.id, inputs):
        raise IntegrityError(
            f"run {run[:8]} can't go on: {'its plan was edited' if row.plan != plan else 'its files changed'} since it began",
            value=plan if row.plan != plan else None, allowed=row.plan if row.plan != plan else None,
            fix="restore them and try again; or start a new run with the plan as it is now",
        )  # fmt: skip


def require_opened(run: RunRef) -> None:
    """A job measures what its run pinned and nothing else: its parameters can be written by hand. Raises IntegrityError."""
    row = workbench().store.get_run(run.run)
    forged = any(
        one.content != Manifest.of(one.kind, one.source, one.files).content for one in run.inputs.manifests
    )  # else the files named here would be measured under the digest of others
    if forged or row is None or row.plan != run.plan or not opened_with(row.id, pinned_contents(run.inputs)):
        raise IntegrityError(
            "this job does not belong to the run it names", value=f"run {run.run[:8]}, plan {run.plan[:12]}",
            allowed="plan and inputs of a run that the product database knows",
            fix="start a run instead (`quantplay run`, or the form): it sends its own jobs",
        )  # fmt: skip


def has_ended(run: UUID) -> bool:
    row = workbench().store.get_run(str(run))
    return row is not None and row.outcome not in (None, "awaiting_signature")


def opened_with(run: UUID, inputs: Mapping[str, Digest]) -> bool:
    """Whether a run was opened with these very inputs."""
    return any(event.body["inputs"] == inputs for event in workbench().store.events(kind=OPENED, subject=str(run)))


@task(name="close", **PLAY)
def close_run(
    run: RunRef, outcome: str, package: str | None, trail: Trail, advice: tuple[Recommendation, ...] = ()
) -> str:
    """Note how the run ended, at which play, and what is recommended; returns the name of the Prefect state."""
    ending, left = OUTCOMES[outcome], None if outcome == "awaiting_signature" else trail.left_at
    body: dict[str, Any] = {"outcome": outcome, "package": package}
    if left is not None:
        body["left_at"] = left
    if advice:
        body["recommendations"] = [one.body() for one in advice]
    workbench().store.finish_run(
        run.id, outcome=outcome, exit_code=ending.exit_code, package=package, left_at=left, event=("run.finished", body)
    )
    return ending.state_name


def fail_run(run: RunRef, error: BaseException) -> None:
    """Note a run that ended in an error, with its first line, or that somebody cancelled.

    A process that is only stopped, by a worker that shuts down, notes nothing: its run is interrupted, and goes on when it is
    tried again.
    """
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, TerminationSignal) and is_cancelled()):
        cancel_run(run.id)
    elif isinstance(error, Exception):
        exit_code = getattr(error, "exit_code", 1)
        event = ("run.failed", {"error": text})
        workbench().store.finish_run(run.id, outcome=None, exit_code=exit_code, state="failed", event=event)


def cancel_run(run: UUID) -> None:
    """Note a run that somebody cancelled, with Ctrl-C or in Prefect. It may be run again, and goes on with what is there."""
    exit_code = OUTCOMES["cancelled"].exit_code
    workbench().store.finish_run(run, outcome=None, exit_code=exit_code, state="cancelled", event=("run.cancelled", {}))


def is_cancelled() -> bool:
    """Whether Prefect was asked to cancel this flow run; False where its server does not answer."""
    identity = flow_run.get_id()
    if identity is None:
        return False
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(identity)).state
    except (httpx.HTTPError, PrefectException):
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def note_cancelled(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect's hook after a cancellation: the process may have been killed before it could note anything."""
    for row in workbench().store.runs_of_flow_run(str(flow_run.id)):
        if row.state in ("running", "interrupted"):
            cancel_run(row.id)
