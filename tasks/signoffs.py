"""People's signatures in the flow: what a production run waits for, and what it does when they are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.digest import digest_of_file
from quantplay.errors import InputError, IntegrityError
from quantplay.handoff import layout
from quantplay.handoff.approvals import Signed, check_approvals
from quantplay.handoff.asking import said
from quantplay.handoff.signatures import read_list, write_signatures
from quantplay.handoff.templating import md
from quantplay.plan import Plan
from quantplay.plays import keys
from quantplay.records import Decision, Digest, PackageRef, SignOff
from quantplay.signoff import Owners, Standing, read_owners, standing, verified
from quantplay.signoff.text import Stage, changes_of
from quantplay.store.locks import turn_name
from quantplay.store.registry import Store
from quantplay.store.signoffs import WAITS, Awaiting
from tasks.options import PLAY
from tasks.progress import announce
from tasks.results import Trail
from tasks.workbench import RunRef, workbench


@task(name="sign-offs", **PLAY)
def signatures(run: RunRef, trail: Trail, stage: Stage, package_key: Digest | None = None) -> str | None:
    """The outcome that ends the run at this stage, or None where it goes on: every signature is there, or none is asked for."""
    bench, plan = workbench(), run.read()
    assert trail.decision is not None
    decision, package_key = (
        bench.store.get_decision(trail.decision),
        package_key or keys.package_key(plan, trail.decision),
    )
    package = bench.store.get_package(package_key)
    assert decision is not None
    if not asks(plan, stage):
        if stage == "lock" and package is not None and trail.training is not None:
            put_into_package(run, package_key, package, trail)  # people signed nothing but the business case
        return None
    if package is not None and is_signed(package, signed_about(run, package, trail)):
        return None
    now = stands(run, decision, stage, package)
    if now.state == "approved":
        if stage == "lock":
            assert package is not None
            put_into_package(run, package_key, package, trail)
        return None
    if now.state == "rejected":
        page = "\n".join(["## The run was rejected", "", *(f"- {md(line)}" for line in said(now.counted))])
        create_markdown_artifact(page, key="sign-offs", description=f"Signatures at stage {stage}")
        return "rejected"
    note_waiting(run, trail, stage, decision, package_key if stage == "lock" else None, package)
    return "awaiting_signature"


def asks(plan: Plan, stage: Stage) -> bool:
    """Whether people sign at this stage: gate and lock in production; training wherever a business case is given."""
    if stage == "training":
        return plan.profile != "explore" and plan.business_case is not None
    return plan.profile == "production"


def business_case_at(stage: Stage, plan: Plan) -> Digest | None:
    return plan.business_case.digest() if stage == "training" and plan.business_case is not None else None


def stands(run: RunRef, decision: Decision, stage: Stage, package: PackageRef | None) -> Standing:
    """The stage by what was recorded for this run; every signature is verified again."""
    recorded = workbench().store.signoffs_of(run.id)
    good, void = verified(recorded, owners_of_settings()) if recorded else ((), ())
    manifest = package.manifest if stage == "lock" and package is not None else None
    return standing(
        stage, good, gate=decision.gate, decision=decision.digest(), gate_changes=changes_of(decision),
        manifest=manifest, business_case=business_case_at(stage, run.read()), void=void,
    )  # fmt: skip


def owners_of_settings() -> Owners:
    return read_owners(workbench().settings.owners)


def signed_about(run: RunRef, package: PackageRef, trail: Trail) -> Signed:
    """What signatures in the run's package have to be about."""
    plan, store = run.read(), workbench().store
    looks = [found for _, _, key in trail.attempts if (found := store.get_decision(key)) is not None]
    assert looks
    last = looks[-1]
    return Signed(
        run=package.run, profile=plan.profile, decision=last.digest(), gate=last.gate, gate_changes=changes_of(last),
        manifest=package.manifest, looks={look.digest(): changes_of(look) for look in looks},
        business_case=business_case_at("training", plan) if trail.training is not None else None,
    )  # fmt: skip


def is_signed(package: PackageRef, signed: Signed) -> bool:
    """Whether the package was locked before, by this run or another one, and still is.

    Its signatures are all there and on record, and hold against its own owners file and against the one of today: where a key
    was removed since, signatures are asked for again. Raises InputError where there is no owners file.
    """
    folder = Path(package.path)
    manifest = folder / layout.MANIFEST
    if (
        not (folder / layout.SIGNATURES).is_dir()
        or not manifest.is_file()
        or digest_of_file(manifest) != package.manifest
    ):
        return False
    owners = owners_of_settings()
    if signed.profile == "production":
        if not check_approvals(folder, signed, owners).complete:
            return False
    elif check_approvals(folder, signed).problems:
        return False
    listed, _ = read_list(folder)
    return listed is not None and set(listed.signoffs) <= set(for_package(listed.run, signed))


def for_package(run: str, signed: Signed) -> tuple[SignOff, ...]:
    """What a package carries: all that was said about its decision, under whatever run, and about the run's business case."""
    store = workbench().store
    cases = (one for one in store.signoffs_of(run) if one.stage == "training") if signed.business_case else ()
    return (*store.signoffs_of_decision(signed.decision), *cases)


def put_into_package(run: RunRef, package_key: Digest, package: PackageRef, trail: Trail) -> None:
    """Write signatures/, with what was said about this decision under other runs, and check what was written."""
    store, owners, signed = workbench().store, owners_of_settings(), signed_about(run, package, trail)
    with store.run_lock(f"signatures {package_key}"):
        write_signatures(package, run.run, for_package(run.run, signed), owners)
    if not is_signed(package, signed):
        raise IntegrityError(
            "the signatures just written do not verify", value=f"{package.path}/{layout.SIGNATURES}",
            fix=f"`quantplay verify {package.path}` says what is wrong",
        )  # fmt: skip


def note_waiting(
    run: RunRef, trail: Trail, stage: Stage, decision: Decision, package_key: Digest | None, package: PackageRef | None
) -> None:
    """Leave what the signers sign and what the resumed run goes on with, unless that stands there already."""
    store = workbench().store
    manifest = package.manifest if package_key is not None and package is not None else None
    body = {
        "stage": stage, "gate": decision.gate, "decision": decision.digest(), "gate_changes": changes_of(decision),
        "package": package_key, "manifest": manifest, "trail": trail.body(),
    }  # fmt: skip
    if (case := business_case_at(stage, run.read())) is not None:
        body["business_case"] = case
    before = store.waiting(run.id)
    same = before is not None and all(getattr(before.waits, name) == value for name, value in body.items())
    if (
        before is None or not same or before.expired_at is not None
    ):  # who asks again after the request expired starts anew
        store.append_event("quantplay", WAITS, run.run, body)


# --- resuming ---------------------------------------------------------------------------------------------------------


def run_to_resume(store: Store, plan: Digest, inputs: Mapping[str, Digest], resume: str | None) -> Awaiting | None:
    """The run to go on with: the one asked for, or the newest of this plan and these inputs that waits for a signature.

    A run whose baseline was revoked can't be locked any more, so it is not gone on with unless asked for.

    Raises InputError where the run asked for does not wait (any more), IntegrityError where its plan or inputs have changed.
    """
    if resume is None:
        waiting = (one for one in store.awaiting_of_plan(plan) if one.inputs == inputs)
        return next((one for one in waiting if store.revoked_baseline(str(one.trail.get("baseline"))) is None), None)
    found, row = store.awaiting(UUID(resume)), store.get_run(resume)
    if found is None or row is None:
        raise InputError(
            f"run {resume[:8]} does not wait for a signature",
            value="no such run" if row is None else row.outcome or row.state,
            allowed="a run that ended `awaiting signature`",
            fix="`quantplay show` lists the runs" if row is None
            else f"`quantplay show {resume[:8]}` says how it ended" if row.outcome is not None
            else "run its plan again without naming a run: it goes on with what is recorded",
        )  # fmt: skip
    changed = [kind for kind, content in inputs.items() if found.inputs.get(kind) != content]
    if row.plan != plan or changed:
        raise IntegrityError(
            f"run {resume[:8]} can't go on: {'its plan was edited' if row.plan != plan else 'its files changed'} since it stopped",
            value=plan if row.plan != plan else ", ".join(changed), allowed=row.plan if row.plan != plan else None,
            fix="restore them; or run the plan as it is now, and sign that run",
        )  # fmt: skip
    return found


def trail_so_far(run: RunRef) -> Trail | None:
    """What a run that waited for signatures had produced by then, so that nothing is measured again; None for any other run."""
    found = workbench().store.awaiting(run.id)
    return Trail.model_validate(found.trail) if found is not None else None


@contextmanager
def turn(run: RunRef) -> Iterator[str | None]:
    """Work on a run alone. Yields the outcome where another process ended the run, before or while this one waited for its turn."""
    store = workbench().store
    with store.run_lock(
        turn_name(run.run), on_wait=lambda: announce("run", "waiting for another process that works on this run")
    ):
        row = store.get_run(run.run)
        yield row.outcome if row is not None and row.outcome != "awaiting_signature" else None
