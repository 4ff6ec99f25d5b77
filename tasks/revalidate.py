"""A locked package measured again, from the product database and the artifact store alone: no plan file, none of the original folders."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from pydantic import ValidationError

from quantplay.errors import InputError, IntegrityError
from quantplay.gate.revalidation import Finding, Locked
from quantplay.handoff.revalidation import revalidation_markdown
from quantplay.plays import keys
from quantplay.plays.revalidate import MeasuredAgain, not_measured, revalidate
from quantplay.plays.standing import Standing, standing
from quantplay.records import Digest, Inputs, Revalidation, Trigger
from quantplay.store.incidents import Incident
from quantplay.store.revalidations import LockedPackage
from tasks.code import require_code_allowed
from tasks.device import device_for
from tasks.locked_files import locked_files
from tasks.options import PLAY
from tasks.progress import announce, reporter
from tasks.reference import full_precision
from tasks.workbench import RunRef, workbench

PLAY_NAME = "re-validate"
REGRESSION = "quantplay.regression"
"""Event in Prefect that an automation can alert on; its resource is the package."""


@task(name="locked packages", **PLAY)
def chosen(packages: str) -> tuple[Digest, ...]:
    """Keys of the locked packages that `packages` means: `all`, or first characters of one key. InputError where it means none."""
    listed = workbench().store.locked_packages("" if packages == "all" else packages)
    if packages != "all" and len(listed) != 1:
        raise InputError(
            "no locked package has this key" if not listed else "several locked packages have a key that starts like this",
            value=packages, allowed="all, or the first characters of one package's key",
            fix="`quantplay registry` lists them",
        )  # fmt: skip
    return tuple(one.key for one in listed)


@task(name=PLAY_NAME, **PLAY)
def measure_again(package: Digest, reason: Trigger, only_if_changed: bool) -> Standing:
    """Measure one package again and record it; or how it stands, where nothing changed since it was measured and nothing else was asked."""
    bench, entry = workbench(), locked_package(package)
    locked = what_was_locked(entry)
    before = stands(entry, locked)
    if only_if_changed and before.status == "confirmed":
        announce(PLAY_NAME, f"{entry.name}: nothing changed since {before.at}")
        return before
    announce(PLAY_NAME, "started")
    with device_for("revalidate"):
        again = measured_again(locked, run_of(entry), reason)
    key, incident = bench.store.put_revalidation(again.found, again.evaluation)
    create_markdown_artifact(
        revalidation_markdown(again.found, locked.plan),
        key=f"revalidation-{package[:12]}",
        description=again.found.reasons[0],
    )
    if incident is not None:
        tell(entry, again.found, incident)
    announce(PLAY_NAME, "done")
    return Standing(
        package=package, name=entry.name, status=again.found.status, at=again.found.at, revalidation=key,
        why=again.found.reasons[0],
    )  # fmt: skip


def measured_again(locked: Locked, run: RunRef, reason: Trigger) -> MeasuredAgain:
    require_code_allowed(locked.plan)
    bench = workbench()
    judged: dict[str, Any] = {
        "harness": keys.harness_of(locked.plan, run.inputs), "stack": bench.fingerprint, "trigger": reason,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    found = locked_files(
        locked, run.inputs, bench.artifacts, folder=bench.settings.home / "inputs", scratch=bench.scratch,
        convert=lambda: full_precision(run),
    )  # fmt: skip
    if isinstance(found, Finding):
        return not_measured(locked, [found], **judged)
    return revalidate(
        locked, found.pinned, candidate=found.candidate, reference=found.reference, threads=bench.threads,
        on_progress=reporter(PLAY_NAME), **judged,
    )  # fmt: skip


def believed(package: Digest, said: str) -> Standing:
    """What a job said of a package, where the product database says the same: a job's state can be set by hand in Prefect."""
    newest = workbench().store.latest_revalidations().get(package)
    try:
        found = Standing.model_validate_json(said)
    except ValidationError:
        found = None
    recorded = (newest[0], newest[1].status) if newest is not None else (None, "confirmed")
    if found is None or found.package != package or (found.revalidation, found.status) != recorded:
        raise IntegrityError(
            "the job that measured a package is completed, and the product database has no such result", value=said or "no message",
            fix="nothing may set a job's state but its worker, and workers need this very database; measure it again",
        )  # fmt: skip
    return found


# --- what was locked --------------------------------------------------------------------------------------------------


def locked_package(key: Digest) -> LockedPackage:
    listed = workbench().store.locked_packages(key)
    if len(listed) != 1:
        raise InputError("this package is not locked", value=key, fix="`quantplay registry` lists those that are")
    return listed[0]


def what_was_locked(entry: LockedPackage) -> Locked:
    """Raises InputError for a package of an earlier version, IntegrityError where the database has lost a record."""
    store, made_of = workbench().store, entry.package.made_of
    if made_of is None:
        raise InputError(
            f"package {entry.key[:12]} ({entry.name}) was locked by an earlier version, which did not note what it takes to "
            "measure it again", fix="run its plan again: what is unchanged is found, and the new package can be re-validated",
        )  # fmt: skip
    plan, baseline = store.get_plan(made_of.plan), store.get_baseline(made_of.baseline)
    artifact, evaluation = store.get_artifact(made_of.artifact), store.get_evaluation(made_of.evaluation)
    decision = store.get_decision(made_of.decision)
    if plan is None or baseline is None or artifact is None or evaluation is None or decision is None:
        raise IntegrityError(
            "the product database no longer has what a package was locked with", value=entry.key,
            fix="restore the database from a backup",
        )  # fmt: skip
    return Locked(
        package=entry.key, plan=plan, baseline=baseline, artifact=artifact, evaluation_key=made_of.evaluation,
        evaluation=evaluation, decision=decision,
    )  # fmt: skip


def run_of(entry: LockedPackage) -> RunRef:
    """The run as a machine without its plan file reads it: from product database and artifact store."""
    store, made_of = workbench().store, entry.package.made_of
    assert made_of is not None
    found = [store.get_manifest(key) for key in made_of.inputs]
    inputs = Inputs.model_validate({manifest.kind: manifest for manifest in found if manifest is not None})
    return RunRef(run=entry.package.run, plan_path="", plan=made_of.plan, inputs=inputs, sent=True)


def stands(entry: LockedPackage, locked: Locked) -> Standing:
    """How a package stands on this machine before it is measured again; another harness counts as a change."""
    store, stack = workbench().store, workbench().fingerprint
    newest = store.latest_revalidations().get(entry.key)
    now = standing(
        package=entry.key, name=entry.name, locked_at=entry.locked_at.isoformat(timespec="seconds"),
        locked_on=locked.evaluation.fingerprint, newest=newest, stack=stack, now=datetime.now(UTC),
    )  # fmt: skip
    known = newest[1].harness_now if newest is not None else locked.evaluation.harness
    if now.status == "confirmed" and keys.harness_of(locked.plan, run_of(entry).inputs) != known:
        return now.model_copy(update={"status": "stale", "why": "Not measured again since the harness changed."})
    return now


def tell(entry: LockedPackage, found: Revalidation, incident: Incident) -> None:
    """A regression, for whoever listens in Prefect."""
    emit_event(
        event=REGRESSION,
        resource={"prefect.resource.id": f"quantplay.package.{entry.key}", "prefect.resource.name": entry.name},
        payload={
            "package": entry.key, "plan": entry.name, "path": entry.package.path, "incident": str(incident.id),
            "reasons": list(found.reasons), "changes": [change.body() for change in found.changes],
        },
    )  # fmt: skip
