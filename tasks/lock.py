"""Play 7: inputs archived as the rollback path, and the hand-off package."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.errors import InputError, IntegrityError
from quantplay.handoff.contents import PackageContents, installed_distributions
from quantplay.handoff.pack import write_package
from quantplay.handoff.verify import verify
from quantplay.plays import keys
from quantplay.plays.pin import require_unchanged
from quantplay.plays.target import require_target
from quantplay.records import Digest, Hardware, MadeOf, PackageRef, Training
from quantplay.store.registry import Store
from tasks.artifacts import local_copy
from tasks.locked_files import verified
from tasks.options import PLAY
from tasks.results import Trail, results_of, seconds_of
from tasks.sending import sources_of, store_input
from tasks.workbench import RunRef, once, workbench


@task(name="lock", **PLAY)
def lock(run: RunRef, trail: Trail) -> Digest:
    """Archive the inputs and write the package (or find it); returns the key of the PackageRef."""
    bench, plan = workbench(), run.read()
    assert trail.decision is not None
    assert trail.baseline is not None
    require_target(plan, measured_on(bench.store, trail.baseline))
    require_not_revoked(bench.store, run, trail)
    key = keys.package_key(plan, trail.decision)

    def find(_: Digest) -> PackageRef | None:
        found = bench.store.get_package(key)
        if found is not None and not Path(found.path).is_dir():
            raise IntegrityError(
                "the package of this decision was written before, and is gone", value=found.path,
                fix=f"put it back there from {found.archive} or a copy; a locked package is written once",
            )  # fmt: skip
        return found

    def make() -> PackageRef:
        archive_inputs(run)
        contents = contents_of(run, trail)
        package = write_package(contents, bench.settings.home / "packages" / f"{plan.name}-{key[:12]}")
        report = verify(Path(package.path), signatures_due=False)  # people sign what they can look at
        if not report.ok:
            raise IntegrityError("the package just written does not verify", faults=report.problems)
        return package.model_copy(update={"made_of": made_of(run, trail)})

    package = once(run, "lock", key, find=find, make=make)
    create_markdown_artifact(f"Hand-off package: `{package.path}`", key="package", description="Play 7, lock")
    return key


def measured_on(store: Store, baseline: Digest) -> Hardware:
    """What the run's numbers were measured on, which may be another machine than this one."""
    record = store.get_baseline(baseline)
    assert record is not None
    return record.fingerprint.hardware


def made_of(run: RunRef, trail: Trail) -> MadeOf:
    """What it takes to measure the package again; full precision in the serving runtime is pinned for that."""
    store = workbench().store
    keys_of = {name: getattr(trail, name) for name in ("baseline", "artifact", "evaluation", "decision")}
    baseline = store.get_baseline(keys_of["baseline"])
    assert baseline is not None
    store.pin(baseline.reference.model, "full precision in the serving runtime of a locked run", run.id)
    inputs = tuple(store.put_manifest(manifest) for manifest in run.inputs.manifests)
    return MadeOf(plan=run.plan, inputs=inputs, **keys_of)


def require_not_revoked(store: Store, run: RunRef, trail: Trail) -> None:
    """Raises InputError where what the decision rests on was revoked while the run waited for people."""
    revoked = store.revoked_baseline(trail.baseline) if trail.baseline is not None else None
    if revoked is not None:
        raise InputError(
            f"run {run.run[:8]} can't be locked: the baseline it was measured against was revoked",
            value=f"{revoked.baseline[:12]}, {revoked.reason}", allowed="a baseline that holds",
            fix=f"`quantplay run {run.plan_path}` measures a new baseline, in a new run to be signed",
        )  # fmt: skip


def archive_inputs(run: RunRef) -> None:
    """Pin full-precision weights, calibration and evaluation files, copy them into the artifact store and re-read them."""
    bench, paths = workbench(), run.paths()
    require_unchanged(run.inputs, run.read(), paths, model=True)
    for kind, files in sources_of(run).items():
        for entry in getattr(run.inputs, kind).files:
            # Pinned first: what `quantplay artifacts prune` removed before that is then stored anew, and nothing removes it after.
            bench.store.pin(entry.sha256, f"{kind} of a locked run: the rollback path", run.id)
            store_input(files[entry.path], entry.sha256)
            bench.artifacts.verify(entry.sha256)


def contents_of(run: RunRef, trail: Trail) -> PackageContents:
    bench, results = workbench(), results_of(run, trail, "locked")
    assert results.inputs is not None
    assert results.baseline is not None
    assert results.envelope is not None
    assert results.recipe is not None
    assert results.artifact is not None
    assert results.evaluation is not None
    assert results.decision is not None
    assert trail.baseline is not None
    bench.store.pin(results.artifact.sha256, "artifact of a locked run", run.id)
    return PackageContents(
        run=run.run,
        plan=results.plan,
        plan_text=plan_text(run),
        inputs=results.inputs,
        baseline=results.baseline,
        baseline_key=trail.baseline,
        envelope=results.envelope,
        recipe=results.recipe,
        artifact=results.artifact,
        artifact_file=local_copy(results.artifact),
        evaluation=results.evaluation,
        decision=results.decision,
        attempts=results.attempts,
        calibration=results.calibration,
        update=results.update,
        sensitivity=results.sensitivity,
        mix=results.mix,
        training=results.training,
        trained_weights=trained_weights(run, results.training),
        environment=installed_distributions(),
        sources=sources_of(run),  # type: ignore[arg-type]
        questions=results.questions,
        seconds=seconds_of(run),
        locked_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def trained_weights(run: RunRef, training: Training | None) -> Path | None:
    """The weights a trained artifact is rounded from, pinned: without them nobody could make it again."""
    if training is None:
        return None
    bench = workbench()
    bench.store.pin(training.weights, "trained weights of a locked run", run.id)
    return verified(bench.artifacts, training.weights, bench.scratch)


def plan_text(run: RunRef) -> str:
    """The plan as its team wrote it; where its file is on another machine, as the product database keeps it."""
    import yaml

    if not run.is_away:
        return Path(run.plan_path).read_text(encoding="utf-8")
    return yaml.safe_dump(run.read().body(), sort_keys=False, allow_unicode=True)
