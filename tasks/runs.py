"""How a run begins, goes on and ends in the product database."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from prefect import task
from prefect.runtime import flow_run

from quantplay.outcomes import OUTCOMES
from quantplay.plan_file import read_plan
from quantplay.plays.pin import pin
from quantplay.plays.target import require_target
from quantplay.store.signoffs import OPENED, RESUMED
from tasks.options import PLAY
from tasks.signoffs import run_to_resume
from tasks.workbench import RunRef, workbench


@task(name="pin", **PLAY)
def open_run(plan_path: str, resume: str | None = None) -> RunRef:
    """Pin every input, store plan and gate under their digests, and only then open the run.

    A run of the same plan and inputs that waits for a signature goes on instead; `resume`: this one and no other.
    """
    path = Path(plan_path).absolute()
    plan = read_plan(path)
    require_target(plan, workbench().fingerprint.hardware)
    inputs = pin(plan, path.parent).inputs
    store = workbench().store
    for manifest in inputs.manifests:
        store.put_manifest(manifest)
    digest = store.put_plan(plan)
    pinned = {manifest.kind: manifest.content for manifest in (inputs.model, inputs.calibration, inputs.evaluation)}
    waiting = run_to_resume(store, digest, pinned, resume)
    before = UUID(waiting.run) if waiting is not None else None
    run = store.start_run(plan=digest, profile=plan.profile, run=before, prefect_flow_run_id=flow_run.get_id())
    body = {"plan": digest, "gate": plan.gate_digest(), "inputs": pinned, "plan_path": str(path)}
    store.append_event("quantplay", RESUMED if waiting is not None else OPENED, str(run), body)
    return RunRef(run=str(run), plan_path=str(path), plan=digest, inputs=inputs)


@task(name="close", **PLAY)
def close_run(run: RunRef, outcome: str, package: str | None) -> str:
    """Note how the run ended; returns the name of the Prefect state."""
    ending = OUTCOMES[outcome]
    store = workbench().store
    store.finish_run(run.id, outcome=outcome, exit_code=ending.exit_code, package=package)
    store.append_event("quantplay", "run.finished", run.run, {"outcome": outcome, "package": package})
    return ending.state_name


def fail_run(run: RunRef, error: BaseException) -> None:
    """Note a run that ended in an error, with its first line."""
    exit_code = getattr(error, "exit_code", 1)
    store = workbench().store
    store.finish_run(run.id, outcome=None, exit_code=exit_code, state="failed")
    store.append_event("quantplay", "run.failed", run.run, {"error": str(error).splitlines()[0] if str(error) else ""})
