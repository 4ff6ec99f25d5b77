"""Writes a case of the audit's oracle into the product database, play by play, as the flow, the signers and a release would."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from benchmarks.audit_seeds_parts.cases import Case, Told, recorded_as, told_of
from quantplay.digest import digest_of
from quantplay.live.release import release
from quantplay.outcomes import OUTCOMES
from quantplay.plays import keys
from quantplay.records import (
    Digest,
    Evaluation,
    FileEntry,
    InputKind,
    MadeOf,
    PackageRef,
    Record,
    Revalidation,
    Role,
    SignOff,
)
from quantplay.records.rollback_rules import RollbackRules
from quantplay.records.traffic import PolicyRevision, ServedArm
from quantplay.signoff.text import Stage, new_statement, render
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.registry import Store

Kind = Literal["run", "package", "endpoint"]
Measured = tuple[Revalidation, Evaluation | None]
FULL = "full precision in the serving runtime"
CONVERTED = f"{FULL} of a locked run"


@dataclass(frozen=True, kw_only=True)
class Release:
    """Play 8: shares the endpoint was given one after the other."""

    shares: tuple[float, ...] = (0.05,)
    policy: Callable[[PolicyRevision], PolicyRevision] = lambda policy: policy
    rolled_back: str | None = None  # why


def keeps_all(kind: InputKind, entry: FileEntry) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What became of a case after its last measurement."""

    outcome: str | None = "locked"  # None: it is still under way
    left_at: str | None = None
    plays: tuple[str, ...] = ("calibration", "baseline", "envelope", "ptq", "evaluate", "gate")  # that are on record
    pinned: Callable[[InputKind, FileEntry], bool] = keeps_all  # inputs the lock protected against deletion
    stored: Callable[[InputKind, FileEntry], bool] = keeps_all  # inputs whose bytes are in the artifact store
    made_of: bool = True  # packages of earlier versions do not say it
    release: Release | None = None
    revalidated: Callable[[Told, Digest], Measured] | None = None  # of the package with this key


def same(told: Told) -> Told:
    return told


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A case with what an audit has to say of it."""

    name: str
    says: str  # how the mistake shows, or why there is none
    kind: Kind = "run"
    expected: Mapping[str, bool] = field(default_factory=dict)  # mistake to be named -> a recorded reason waives it
    also: frozenset[str] = frozenset()  # mistakes the mission's words let be named as well
    case: Case = field(default_factory=Case)
    told: Callable[[Told], Told] = same  # what only an older version or another tool would have written
    ending: Ending = field(default_factory=Ending)


def written(store: Store, seed: Seed) -> str:
    """Store all of it; the subject to audit."""
    told, ending = seed.told(told_of(replace(seed.case, name=recorded_as(seed.name)))), seed.ending
    store_files(store.artifacts, told, ending)
    run = str(run_opened(store, told))
    for play, key, record in plays_of(told):
        if play in ending.plays:
            if play == "ptq":
                recipe = next(look.recipe for look in told.looks if keys.artifact_key(look.recipe) == key)
                store.put_recipe(recipe.digest(), recipe)
            kept = store.settle(told.run(), play=play, key=key, record=record, reused=False, seconds=1.0)
            assert kept == record, (seed.name, play)
            if play == "baseline":
                store.sanction_baseline(key, key, told.plan.evaluation.baseline_days)
    if ending.outcome is None:
        return run
    package = locked(store, told, ending, run) if ending.outcome == "locked" else None
    body = {"outcome": ending.outcome, "package": package}
    store.finish_run(
        told.run(), outcome=ending.outcome, exit_code=OUTCOMES[ending.outcome].exit_code, package=package, left_at=ending.left_at,
        event=("run.finished", body),
    )  # fmt: skip
    if package is None:
        return run
    if ending.revalidated is not None:
        store.put_revalidation(*ending.revalidated(told, package))
    if ending.release is not None:
        released(store, told, ending.release, manifest_of(package))
    return {"run": run, "package": package, "endpoint": told.plan.name}[seed.kind]


def run_opened(store: Store, told: Told) -> UUID:
    inputs = {manifest.kind: manifest.content for manifest in told.inputs.manifests}
    for manifest in (*told.inputs.manifests, *told.others):
        store.put_manifest(manifest)
    plan = store.put_plan(told.plan)
    body = {
        "plan": plan, "gate": told.plan.gate_digest(), "inputs": inputs, "plan_path": f"/plans/{told.plan.name}.yaml",
        "deployment": None, "flow_run": None, "address": None,
    }  # fmt: skip
    return store.start_run(plan=plan, profile=told.plan.profile, run=told.run(), body=body)


def plays_of(told: Told) -> Iterator[tuple[str, Digest, Record]]:
    """Play, key and record, in their order."""
    plan, inputs = told.plan, told.inputs
    if told.check is not None:
        yield "calibration", keys.calibration_key(plan, inputs), told.check
    yield "baseline", told.baseline_key, told.baseline
    yield "envelope", keys.envelope_key(plan, inputs, told.envelope.fingerprint), told.envelope
    for look in told.looks:
        if told.training is not None and look.recipe.trained is not None:
            key = keys.training_key(inputs, told.looks[0].artifact, told.looks[0].recipe, told.training.settings)
            yield "training", key, told.training
        yield "ptq", keys.artifact_key(look.recipe), look.artifact
        yield "evaluate", evaluation_key(told, look.artifact), look.evaluation
        yield "gate", decision_key(told, look), look.decision


def evaluation_key(told: Told, artifact: Any) -> Digest:
    return keys.evaluation_key(told.plan, told.inputs, told.baseline_key, artifact, told.baseline.fingerprint)


def decision_key(told: Told, look: Any) -> Digest:
    evaluation, decision = evaluation_key(told, look.artifact), look.decision
    return keys.decision_key(told.plan, evaluation, decision.attempt, decision.gate_changes, decision.waivers)


# --- play 7 -------------------------------------------------------------------------------------------------------------


def store_files(artifacts: ArtifactStore, told: Told, ending: Ending) -> None:
    lost = {entry.sha256 for kind, entry in archived(told) if not ending.stored(kind, entry)}
    with tempfile.TemporaryDirectory() as folder:
        for sha256, content in told.files.items():
            if sha256 not in lost and not artifacts.exists(sha256):
                path = Path(folder) / sha256
                path.write_bytes(content)
                artifacts.put_file(path)


def archived(told: Told) -> Iterator[tuple[InputKind, FileEntry]]:
    """Every input's files, and full precision as it is served."""
    for manifest in told.inputs.manifests:
        for entry in manifest.files:
            yield manifest.kind, entry
    yield "model", FileEntry(path=FULL, size_bytes=0, sha256=told.baseline.reference.model)


def manifest_of(package: Digest) -> Digest:
    return digest_of({"manifest of": package})


def locked(store: Store, told: Told, ending: Ending, run: str) -> Digest:
    look, plan = told.last, told.plan
    for kind, entry in archived(told):
        if ending.pinned(kind, entry):
            reason = f"{kind} of a locked run: the rollback path"
            store.pin(entry.sha256, CONVERTED if entry.path == FULL else reason, told.run())
    store.pin(look.artifact.sha256, "artifact of a locked run", told.run())
    decision = decision_key(told, look)
    key = keys.package_key(plan, decision)
    made_of = MadeOf(
        plan=plan.digest(), baseline=told.baseline_key, artifact=keys.artifact_key(look.recipe),
        evaluation=evaluation_key(told, look.artifact), decision=decision,
        inputs=tuple(manifest.digest() for manifest in told.inputs.manifests),
    )  # fmt: skip
    package = PackageRef(
        run=run, path=f"/packages/{plan.name}", manifest=manifest_of(key), archive=None, size_bytes=look.artifact.size_bytes,
        made_of=made_of if ending.made_of else None,
    )  # fmt: skip
    store.settle(told.run(), play="lock", key=key, record=package, reused=False, seconds=1.0)
    for stage, role in signers(told):
        store.put_signoff(signed(told, run, stage, role, package))
    return key


def signers(told: Told) -> Iterator[tuple[Stage, Role]]:
    if told.training is not None:
        yield "training", "engineering_manager"
    if told.plan.profile == "production":
        for stage in ("gate", "lock"):
            yield stage, "ml_engineer"
            yield stage, "product_owner"


def signed(told: Told, run: str, stage: Stage, role: Role, package: PackageRef) -> SignOff:
    """As recorded. No key signs here: whether a signature holds is another check's matter."""
    look = told.looks[0] if stage == "training" else told.last
    case = told.plan.business_case
    statement = new_statement(
        run=run, stage=stage, role=role, verdict="approve", person=str(getattr(told.plan.owners, role)), gate=look.decision.gate,
        decision=look.decision.digest(), manifest=package.manifest if stage == "lock" else None, gate_changes=0,
        business_case=case.digest() if stage == "training" and case is not None else None, comment="Looked at, slice by slice.",
    )  # fmt: skip
    return SignOff(
        **statement.model_dump(exclude={"gate_changes"}), recorded_at=statement.issued_at, text=render(statement).decode(),
        signature="-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", key=f"SHA256:{role}", owners=digest_of("owners"),
    )  # fmt: skip


# --- play 8 -------------------------------------------------------------------------------------------------------------


def released(store: Store, told: Told, asked: Release, manifest: Digest) -> None:
    look, endpoint = told.last, told.plan.name
    policy = PolicyRevision(
        endpoint=endpoint, package=manifest, salt=endpoint, rules=told.plan.rollback_rules or RollbackRules(),
        full_precision=ServedArm(url="http://full:8000/v1", model=f"{endpoint}-full", artifact=told.baseline.reference.model),
        quantized=ServedArm(url="http://small:8000/v1", model=endpoint, artifact=look.artifact.sha256),
        decode_ratio=look.evaluation.performance.time_per_token_ms.p50 / look.evaluation.reference_performance.time_per_token_ms.p50,
    )  # fmt: skip
    first, *rest = asked.shares
    number, version = release(
        store, asked.policy(policy), weight=first, actor=told.plan.owners.ml_engineer, reason="passed its gate"
    )
    epoch = store.take_lease(endpoint, "judge", 60)
    for share in rest:
        version = store.point(
            endpoint, revision=number, state="live" if share == rest[-1] else "canary", weight=share, epoch=epoch, expected=version,
            actor="judge", reason="no signal is worse than tolerated",
        )  # fmt: skip
    store.give_lease(endpoint, "judge")
    if asked.rolled_back is not None:
        store.roll_back(endpoint, actor="judge", reason=asked.rolled_back)
