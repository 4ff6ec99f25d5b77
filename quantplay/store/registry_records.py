"""The Store: records by key, and which baselines may be reused."""

from __future__ import annotations

import sqlalchemy as sa

from quantplay.digest import is_digest
from quantplay.errors import InternalError
from quantplay.plan import Gate, Plan
from quantplay.records import (
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    EnvelopeChoice,
    Evaluation,
    InputKind,
    Manifest,
    MixChoice,
    PackageRef,
    Recipe,
    ScanPart,
    Sensitivity,
    Training,
)
from quantplay.store import (
    events,
    records,
    sanctions,
    tables,
)
from quantplay.store.database import Database
from quantplay.store.patience import patiently
from quantplay.store.records import Kind, R
from quantplay.store.sanctions import Sanction


class RecordRegistry(Database):
    """Records and sanctions."""

    # --- records: put is idempotent and raises IntegrityError for another record under the key; get gives it back ------

    @patiently
    def _put(self, kind: Kind[R], key: str, record: R) -> None:
        if not is_digest(key):
            raise InternalError(f"the key of a {kind.name} must be a digest", value=key)
        with self._begin() as connection:
            records.put(connection, kind, key, record)

    @patiently
    def _get(self, kind: Kind[R], key: str) -> R | None:
        with self._begin() as connection:
            return records.get(connection, kind, key)

    @patiently
    def put_plan(self, plan: Plan) -> str:
        """Store a plan and its gate; the plan's digest is its key."""
        key, gate = plan.digest(), plan.gate_digest()
        with self._begin() as connection:
            records.put(connection, records.GATE, gate, plan.gate)
            records.put(connection, records.PLAN, key, plan, gate=gate)
        return key

    def get_plan(self, key: str) -> Plan | None:
        return self._get(records.PLAN, key)

    def get_gate(self, key: str) -> Gate | None:
        return self._get(records.GATE, key)

    def put_manifest(self, manifest: Manifest) -> str:
        """Store a pinned input; returns its key, the digest of the manifest (source and revision included)."""
        key = manifest.digest()
        self._put(records.MANIFEST, key, manifest)
        return key

    def get_manifest(self, key: str) -> Manifest | None:
        return self._get(records.MANIFEST, key)

    @patiently
    def find_manifests(self, kind: InputKind, content: str) -> tuple[Manifest, ...]:
        """Every manifest of these very files, oldest first: the same files can come from several sources."""
        table = tables.manifests
        with self._begin() as connection:
            query = sa.select(table.c.key).where(table.c.kind == kind, table.c.files == content)
            keys = connection.scalars(query.order_by(table.c.created_at)).all()
            found = [records.get(connection, records.MANIFEST, key) for key in keys]
        return tuple(manifest for manifest in found if manifest is not None)

    def put_baseline(self, key: str, baseline: Baseline) -> None:
        self._put(records.BASELINE, key, baseline)

    def get_baseline(self, key: str) -> Baseline | None:
        return self._get(records.BASELINE, key)

    def put_calibration_check(self, key: str, check: CalibrationCheck) -> None:
        self._put(records.CALIBRATION, key, check)

    def get_calibration_check(self, key: str) -> CalibrationCheck | None:
        return self._get(records.CALIBRATION, key)

    def put_envelope(self, key: str, envelope: EnvelopeChoice) -> None:
        self._put(records.ENVELOPE, key, envelope)

    def get_envelope(self, key: str) -> EnvelopeChoice | None:
        return self._get(records.ENVELOPE, key)

    def put_recipe(self, key: str, recipe: Recipe) -> None:
        self._put(records.RECIPE, key, recipe)

    def get_recipe(self, key: str) -> Recipe | None:
        return self._get(records.RECIPE, key)

    def put_artifact(self, key: str, artifact: Artifact) -> None:
        self._put(records.ARTIFACT, key, artifact)

    def get_artifact(self, key: str) -> Artifact | None:
        return self._get(records.ARTIFACT, key)

    def put_evaluation(self, key: str, evaluation: Evaluation) -> None:
        self._put(records.EVALUATION, key, evaluation)

    def get_evaluation(self, key: str) -> Evaluation | None:
        return self._get(records.EVALUATION, key)

    def put_decision(self, key: str, decision: Decision) -> None:
        self._put(records.DECISION, key, decision)

    def get_decision(self, key: str) -> Decision | None:
        return self._get(records.DECISION, key)

    def put_sensitivity(self, key: str, sensitivity: Sensitivity) -> None:
        self._put(records.SENSITIVITY, key, sensitivity)

    def get_sensitivity(self, key: str) -> Sensitivity | None:
        return self._get(records.SENSITIVITY, key)

    def put_scan_part(self, key: str, part: ScanPart) -> None:
        self._put(records.SCAN_PART, key, part)

    def get_scan_part(self, key: str) -> ScanPart | None:
        return self._get(records.SCAN_PART, key)

    def put_mix(self, key: str, mix: MixChoice) -> None:
        self._put(records.MIX, key, mix)

    def get_mix(self, key: str) -> MixChoice | None:
        return self._get(records.MIX, key)

    def put_training(self, key: str, training: Training) -> None:
        self._put(records.TRAINING, key, training)

    def get_training(self, key: str) -> Training | None:
        return self._get(records.TRAINING, key)

    def put_package(self, key: str, package: PackageRef) -> None:
        self._put(records.PACKAGE, key, package)

    def get_package(self, key: str) -> PackageRef | None:
        return self._get(records.PACKAGE, key)

    @patiently
    def packages_of_run(self, run: str) -> tuple[PackageRef, ...]:
        """Every package recorded as written by `run`, an id as text."""
        table = tables.packages
        with self._begin() as connection:
            keys = connection.scalars(sa.select(table.c.key).where(table.c.run == run)).all()
            found = [records.get(connection, records.PACKAGE, key) for key in keys]
        return tuple(package for package in found if package is not None)

    # --- sanctioned baselines --------------------------------------------------------------------------------------------

    @patiently
    def sanctioned_baseline(self, identity: str, days: int | None = None) -> str | None:
        """Key of the newest baseline of this identity that may be reused; `days`: the oldest the caller accepts."""
        with self._begin() as connection:
            return sanctions.sanctioned(connection, identity, days)

    @patiently
    def baseline_generations(self, identity: str) -> int:
        """How many baselines of this identity there are, expired and revoked ones too."""
        with self._begin() as connection:
            return sanctions.generations(connection, identity)

    @patiently
    def sanction_baseline(self, key: str, identity: str, days: int | None = None) -> None:
        """Let a recorded baseline be reused for `days` days (90), counted from when it was recorded."""
        with self._begin() as connection:
            sanctions.sanction(connection, key, identity, days)

    @patiently
    def identity_of_baseline(self, key: str) -> str | None:
        with self._begin() as connection:
            return sanctions.identity_of(connection, key)

    @patiently
    def revoke_baseline(self, prefix: str, reason: str, actor: str) -> str:
        """Never reuse this baseline again; the next run measures it anew. Returns its key."""
        with self._begin() as connection:
            key = sanctions.revoke(connection, prefix, reason)
            events.append(connection, actor, "baseline.revoked", key, {"reason": reason})
            return key

    @patiently
    def revoked_baseline(self, key: str) -> Sanction | None:
        """The sanction of this baseline where it was revoked; None where it still holds or only expired."""
        with self._begin() as connection:
            found = sanctions.listed(connection)
        return next((one for one in found if one.baseline == key and one.revoked_at is not None), None)

    @patiently
    def list_baselines(self) -> tuple[Sanction, ...]:
        """Every baseline with its expiry and how many runs used it, newest first."""
        with self._begin() as connection:
            return sanctions.listed(connection)
