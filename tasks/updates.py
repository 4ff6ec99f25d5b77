"""The run a plan updates, read from the product database."""

from __future__ import annotations

from quantplay.errors import InputError
from quantplay.plan import Plan
from quantplay.plays.update import Earlier, earlier_slices, require_update
from quantplay.records import Inputs, MadeOf, PackageRef, Update
from quantplay.store.registry import Store
from quantplay.store.runs import Run

UPDATES = "run.updates"
"""Kind of the event that tells which run a new one updates."""


def require_updatable(store: Store, plan: Plan, inputs: Inputs) -> None:
    """Raise InputError where `plan` names a run it does not update in all that has to stay."""
    if plan.updates is not None:
        require_update(earlier_of(store, plan.updates), plan, inputs)


def note_update(store: Store, plan: Plan, run: str) -> None:
    """Leave in the chain of events which run `run` updates, once."""
    update = update_of(store, plan)
    if update is not None and not store.events(kind=UPDATES, subject=run):
        body = {"run": update.run, "model": update.model, "type": update.type, "manifest": update.manifest}
        store.append_event("quantplay", UPDATES, run, body)


def update_of(store: Store, plan: Plan | None) -> Update | None:
    """What `plan` updates, with its numbers; None for a plan that updates nothing."""
    if plan is None or plan.updates is None:
        return None
    row, package, made = locked(store, plan.updates)
    artifact, decision = store.get_artifact(made.artifact), store.get_decision(made.decision)
    assert artifact is not None
    assert decision is not None
    return Update(
        run=str(row.id), plan=made.plan, model=inputs_of(store, made).model.content, type=artifact.type,
        decision=made.decision, manifest=package.manifest, slices=earlier_slices(decision),
    )  # fmt: skip


def earlier_of(store: Store, run: str) -> Earlier:
    """The locked run whose id starts with `run`. Raises InputError where there is none, or it was not locked."""
    row, _, made = locked(store, run)
    plan, baseline = store.get_plan(made.plan), store.get_baseline(made.baseline)
    assert plan is not None
    assert baseline is not None
    return Earlier(run=str(row.id), plan=plan, inputs=inputs_of(store, made), harness=baseline.harness)


def updated_by(store: Store, run: str) -> tuple[str, ...]:
    """Ids of the runs that update `run`, oldest first."""
    return tuple(event.subject for event in store.events(kind=UPDATES) if event.body["run"] == run)


def locked(store: Store, run: str) -> tuple[Run, PackageRef, MadeOf]:
    row = store.get_run(run)
    if row is None:
        raise InputError("there is no such run to update", value=run, fix="`quantplay show` lists the runs")
    package = store.get_package(row.package) if row.package else None
    if row.outcome != "locked" or package is None:
        raise InputError(
            f"run {run[:8]} was not locked, so there is nothing to update", value=row.outcome or row.state, allowed="locked",
            fix="sign it first" if row.outcome == "awaiting_signature" else "mend its plan and run that; only what passed its gate is updated",
        )  # fmt: skip
    if package.made_of is None:
        raise InputError(
            f"the package of run {run[:8]} does not say what it was locked with", value=package.path,
            fix="run its plan once more and update that run",
        )  # fmt: skip
    return row, package, package.made_of


def inputs_of(store: Store, made: MadeOf) -> Inputs:
    manifests = [manifest for key in made.inputs if (manifest := store.get_manifest(key)) is not None]
    return Inputs.model_validate({manifest.kind: manifest for manifest in manifests})
