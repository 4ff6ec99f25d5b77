"""The product database as the rest of quantplay sees it: records by key, runs, attempts, events, pins and locks.

Every method is one transaction and may be called again with the same arguments. Threads may share a Store.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert

from quantplay.digest import is_digest
from quantplay.errors import IntegrityError, InternalError, ServiceUnavailable
from quantplay.plan import Gate, Plan
from quantplay.records import (
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    EnvelopeChoice,
    Evaluation,
    Hardware,
    InputKind,
    Manifest,
    PackageRef,
    Recipe,
    Revalidation,
    SignOff,
)
from quantplay.settings import Settings
from quantplay.store import (
    connect,
    embedded,
    events,
    incidents,
    jobs,
    records,
    requests,
    revalidations,
    runs,
    sanctions,
    signoffs,
    tables,
    workers,
)
from quantplay.store.artifacts import ArtifactStore, require_known_protocol
from quantplay.store.events import Event
from quantplay.store.incidents import Incident
from quantplay.store.jobs import Job, JobOutcome
from quantplay.store.locks import AdvisoryLock, run_lock_key
from quantplay.store.patience import patiently
from quantplay.store.records import Kind, R
from quantplay.store.requests import Request, Waiting
from quantplay.store.revalidations import LockedPackage
from quantplay.store.runs import Attempt, Run
from quantplay.store.sanctions import Sanction
from quantplay.store.schema import ensure_schema
from quantplay.store.signoffs import Awaiting, Check
from quantplay.store.workers import ALIVE_SECONDS, Worker

POLL_SECONDS = 0.25  # between two looks at a lock that somebody else has


def open_store(
    settings: Settings, on_progress: Callable[[str], None] | None = None, patience_seconds: float = 0
) -> Store:
    """Connect to the product database, start the embedded one where no URL is set, and bring its tables up to date.

    `on_progress` gets a line for people when there is something to wait for. patience_seconds: how long the store waits for a
    database that went away after it was opened. Raises InputError for a URL, user, password or server that can't be used,
    ServiceUnavailable where nothing answers.
    """
    require_known_protocol(settings.artifacts_url)
    if settings.database_url is not None:
        store = _opened(connect.make_engine(connect.parse_url(settings.database_url)), settings)
    else:
        try:
            store = _opened(connect.make_engine(embedded.start_embedded(settings.home, on_progress)), settings)
        except ServiceUnavailable:
            # Between finding the server and connecting, somebody may have stopped it: once more.
            store = _opened(connect.make_engine(embedded.start_embedded(settings.home, on_progress)), settings)
        store.revive = lambda: embedded.start_embedded(settings.home, on_progress)
    store.patience_seconds, store.say = patience_seconds, on_progress or (lambda text: None)
    return store


def _opened(engine: Engine, settings: Settings) -> Store:
    try:
        with connect.translated(engine.url):
            with engine.connect() as connection:
                connect.check_version(int(connection.scalar(sa.text("show server_version_num")) or 0))
                connect.check_encoding(str(connection.scalar(sa.text("show server_encoding"))), engine.url)
            ensure_schema(engine)
            with engine.connect() as connection:
                identity = connection.scalar(sa.select(tables.meta.c.identity))
        if not isinstance(identity, UUID):
            raise IntegrityError(
                "the database has lost its identity: its table `meta` is empty", value=connect.shown(engine.url),
                fix="restore it from a backup, or name an empty database",
            )  # fmt: skip
        return Store(engine, identity, settings.artifacts_url)
    except BaseException:
        engine.dispose()
        raise


class Store:
    """An open product database. Use it in a `with` block, or close it."""

    def __init__(self, engine: Engine, database_id: UUID, artifacts_url: str) -> None:
        self.engine = engine
        self.database_id = str(database_id)  # made once with the tables: tells one database from another
        self._artifacts_url = artifacts_url
        self.patience_seconds = 0.0
        self.revive: Callable[[], object] = lambda: None  # starts the server again where it is ours to start
        self.say: Callable[[str], None] = lambda text: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back. The embedded server stays up for the next command."""
        self.engine.dispose()

    @property
    def where(self) -> str:
        """The database for people: its URL without a password."""
        return connect.shown(self.engine.url)

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store of the settings; it refuses to delete what this database has pinned."""
        return ArtifactStore(self._artifacts_url, pins=self.pins_of)

    @contextlib.contextmanager
    def _begin(self) -> Iterator[Connection]:
        with connect.translated(self.engine.url), self.engine.begin() as connection:
            yield connection

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

    # --- runs ----------------------------------------------------------------------------------------------------------

    def start_run(
        self,
        *,
        plan: str,
        profile: str,
        run: UUID | None = None,
        prefect_flow_run_id: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> UUID:
        """A new run of a stored plan; with the id of an existing run, that one is running again (a resume).

        `body`: of the event that says so, recorded with it.
        """
        # The id is made before the transaction: one that is tried again after its answer was lost must not open a second run.
        identity = run or uuid4()
        self._start_run(identity, plan, profile, prefect_flow_run_id, body)
        return identity

    @patiently
    def _start_run(
        self, run: UUID, plan: str, profile: str, prefect_flow_run_id: str | None, body: Mapping[str, Any] | None
    ) -> None:
        with self._begin() as connection:
            new = runs.start(connection, plan=plan, profile=profile, run=run, prefect_flow_run_id=prefect_flow_run_id)
            if body is not None:
                kind = signoffs.OPENED if new else signoffs.RESUMED
                events.append(connection, "quantplay", kind, str(run), body)

    @patiently
    def record_play(
        self,
        run: UUID,
        *,
        play: str,
        key: str,
        reused: bool,
        seconds: float,
        started_at: datetime | None = None,
        attempt: int = 1,
    ) -> None:
        """Note a finished play of a run; the first note of the same play and key stays."""
        values: dict[str, Any] = {"play": play, "key": key, "reused": reused, "seconds": seconds, "attempt": attempt}
        if started_at is not None:
            values["started_at"] = started_at
        with self._begin() as connection:
            runs.record_play(connection, run, values)

    @patiently
    def settle(
        self,
        run: UUID,
        *,
        play: str,
        key: str,
        record: R,
        reused: bool,
        seconds: float,
    ) -> R:
        """A play is done: its record (unless one is there already), its row of the run and its event, in one transaction.

        Returns what is recorded under `key`: where another process was faster its record stays, and the play counts as reused.
        """
        kind = records.kind_of(record)
        if not is_digest(key):
            raise InternalError(f"the key of a {kind.name} must be a digest", value=key)
        with self._begin() as connection:
            there = record if reused else records.put_or_get(connection, kind, key, record)
            values = {"play": play, "key": key, "reused": reused or there != record, "seconds": seconds, "attempt": 1}
            if runs.record_play(connection, run, values) and not values["reused"]:
                events.append(connection, "quantplay", "play.done", key, {"run": str(run), "play": play})
        return there

    @patiently
    def finish_run(
        self,
        run: UUID,
        *,
        outcome: str | None,
        exit_code: int,
        package: str | None = None,
        state: Literal["finished", "failed", "cancelled"] = "finished",
        event: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """How a run ended; `package` is the key of its package, `event` kind and body of the event recorded with it.

        An ending that another process reached meanwhile is not undone.
        """
        with self._begin() as connection:
            done = runs.finish(connection, run, state=state, outcome=outcome, exit_code=exit_code, package=package)
            if done and event is not None:
                events.append(connection, "quantplay", event[0], str(run), event[1])

    @patiently
    def runs_of_flow_run(self, flow_run: str) -> tuple[Run, ...]:
        """Runs that this run of a Prefect flow opened or went on with, newest first."""
        with self._begin() as connection:
            return runs.of_flow_run(connection, flow_run)

    @patiently
    def interrupted_runs(self, plan: str) -> tuple[Run, ...]:
        """Runs of this plan that are noted as running and whose process is gone, newest first."""
        with self._begin() as connection:
            return runs.interrupted(connection, plan)

    @patiently
    def get_run(self, prefix: str = "") -> Run | None:
        """The run whose id starts with `prefix`, the newest where several do; without a prefix the newest of all."""
        with self._begin() as connection:
            return next(iter(runs.find(connection, prefix=prefix, limit=1)), None)

    @patiently
    def list_runs(self, limit: int = 20) -> tuple[Run, ...]:
        """The newest runs, newest first."""
        with self._begin() as connection:
            return runs.find(connection, limit=limit)

    @patiently
    def next_attempt(self, *, plan: str, gate: str, model: str, items: str, artifact: str) -> int:
        """Number of the plan's look at the gate split, from 1; the same artifact keeps its number."""
        with self._begin() as connection:
            return runs.next_attempt(connection, plan=plan, gate=gate, model=model, items=items, artifact=artifact)

    @patiently
    def attempts_of(self, model: str, items: str) -> tuple[Attempt, ...]:
        """Every look at these items with this model, under whatever plan: a loosened gate shows here."""
        with self._begin() as connection:
            return runs.attempts_of(connection, model=model, items=items)

    # --- sign-offs -------------------------------------------------------------------------------------------------------

    @patiently
    def put_signoff(self, signoff: SignOff, check: Check | None = None) -> None:
        """Record a signature and its event in one transaction, unless `check` finds reasons to refuse it (InputError)."""
        with self._begin() as connection:
            signoffs.put(connection, signoff, check)

    @patiently
    def signoffs_of(self, run: UUID | str) -> tuple[SignOff, ...]:
        """Every signature of a run, oldest first."""
        with self._begin() as connection:
            return signoffs.of_run(connection, str(run))

    @patiently
    def signoffs_of_decision(self, decision: str) -> tuple[SignOff, ...]:
        """Every signature about this decision record, under whatever run, oldest first."""
        with self._begin() as connection:
            return signoffs.of_decision(connection, decision)

    @patiently
    def awaiting(self, run: UUID) -> Awaiting | None:
        """What a run waits for a signature with; None where it waits for nothing."""
        with self._begin() as connection:
            return signoffs.awaiting(connection, run)

    @patiently
    def awaiting_of_plan(self, plan: str) -> tuple[Awaiting, ...]:
        """Runs of this plan that wait for a signature, newest first."""
        with self._begin() as connection:
            return signoffs.awaiting_of_plan(connection, plan)

    @patiently
    def requests_of(self, run: UUID | str) -> tuple[Request, ...]:
        """Every form that was shown for this run, oldest first."""
        with self._begin() as connection:
            return requests.of_run(connection, str(run))

    @patiently
    def answered_requests(self, run: UUID | str) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """(flow run, key) of every form whose input was handled -> what became of it."""
        with self._begin() as connection:
            return requests.answered(connection, str(run))

    @patiently
    def run_of_flow_run(self, flow_run: str) -> str | None:
        """The run that this flow run of Prefect opened or took up last; None for a flow run that has not yet."""
        with self._begin() as connection:
            return requests.run_of_flow_run(connection, flow_run)

    @patiently
    def waiting(self, run: UUID) -> Waiting | None:
        """Since when a run waits for signatures, and what was done about it; None where it waits for nothing."""
        with self._begin() as connection:
            return requests.waiting(connection, run)

    @patiently
    def all_waiting(self) -> tuple[Waiting, ...]:
        """Every run that ended with a signature missing, longest waiting first."""
        with self._begin() as connection:
            return requests.all_waiting(connection)

    @patiently
    def newer_gates(self, run: UUID) -> tuple[tuple[str, str], ...]:
        """(run, gate) of later runs of the same plan name and model that froze another gate."""
        with self._begin() as connection:
            return signoffs.newer_gates(connection, run)

    # --- re-validations and incidents ------------------------------------------------------------------------------------

    @patiently
    def locked_packages(self, prefix: str = "") -> tuple[LockedPackage, ...]:
        """Every package that a run locked, newest first; `prefix`: first characters of its key."""
        with self._begin() as connection:
            return revalidations.locked(connection, prefix)

    @patiently
    def put_revalidation(self, found: Revalidation, measured: Evaluation | None) -> tuple[str, Incident | None]:
        """Record a re-validation with what it measured, in one transaction; a regression opens an incident. Its key, and that incident."""
        with self._begin() as connection:
            return revalidations.put(connection, found, measured)

    def get_revalidation(self, key: str) -> Revalidation | None:
        return self._get(records.REVALIDATION, key)

    @patiently
    def latest_revalidations(self) -> dict[str, tuple[str, Revalidation]]:
        """Package -> key and record of its newest re-validation."""
        with self._begin() as connection:
            return revalidations.latest(connection)

    @patiently
    def close_incident(self, prefix: str, *, by: str, resolution: str) -> Incident:
        """Close the one open incident whose id starts with `prefix`; who did it and why is kept."""
        with self._begin() as connection:
            return incidents.close(connection, prefix, by, resolution)

    @patiently
    def list_incidents(self, *, open_only: bool = False) -> tuple[Incident, ...]:
        """Open ones first, newest first."""
        with self._begin() as connection:
            return incidents.listed(connection, open_only=open_only)

    # --- workers and the devices they use --------------------------------------------------------------------------------

    @patiently
    def declare_worker(self, *, name: str, pool: str, host: str, device: str, hardware: Hardware, chip: str) -> None:
        """A worker that starts says what it has; again under its name after a restart."""
        with self._begin() as connection:
            workers.declare(
                connection, name=name, pool=pool, host=host, device=device, hardware=hardware, chip=chip
            )  # fmt: skip

    @patiently
    def worker_seen(self, name: str) -> bool:
        """A declared worker is alive now; False where nobody declared it."""
        with self._begin() as connection:
            return workers.seen(connection, name)

    @patiently
    def worker_stopped(self, name: str) -> None:
        with self._begin() as connection:
            workers.stopped(connection, name)

    @patiently
    def list_workers(self, pool: str | None = None, alive_seconds: float | None = ALIVE_SECONDS) -> tuple[Worker, ...]:
        """Workers of a pool (all pools) seen within `alive_seconds` that did not stop; None: all there ever were."""
        with self._begin() as connection:
            return workers.listed(connection, pool, alive_seconds)

    def start_job(self, *, play: str, host: str, device: str, run: UUID | None = None) -> UUID:
        """A heavy play begins on a device whose lock this process holds; jobs still open there are marked lost."""
        job = uuid4()
        self._start_job(job, play=play, host=host, device=device, run=run)
        return job

    @patiently
    def _start_job(self, job: UUID, *, play: str, host: str, device: str, run: UUID | None) -> None:
        with self._begin() as connection:
            jobs.start(connection, job, run=run, play=play, host=host, device=device)

    @patiently
    def finish_job(self, job: UUID, outcome: JobOutcome) -> None:
        with self._begin() as connection:
            jobs.finish(connection, job, outcome)

    @patiently
    def list_jobs(
        self, run: UUID | None = None, device: str | None = None, since: datetime | None = None
    ) -> tuple[Job, ...]:
        """Uses of devices, oldest first: of a run, of a device, since a moment; all without any."""
        with self._begin() as connection:
            return jobs.listed(connection, run=run, device=device, since=since)

    # --- events, pins, locks ---------------------------------------------------------------------------------------------

    @patiently
    def append_event(self, actor: str, kind: str, subject: str, body: Mapping[str, Any] | None = None) -> Event:
        """Add to the chain: who, what, about what, and a JSON-safe body. Not idempotent: every call is an event."""
        with self._begin() as connection:
            return events.append(connection, actor, kind, subject, body or {})

    @patiently
    def events(self, *, kind: str | None = None, subject: str | None = None) -> tuple[Event, ...]:
        """Events in their order, all or those of a kind or a subject."""
        with self._begin() as connection:
            return events.read(connection, kind=kind, subject=subject)

    def verify_events(self, anchors: Mapping[int, str] | None = None) -> tuple[str, ...]:
        """Recompute the whole chain; empty when all is well. `anchors`: digests by number, remembered elsewhere."""
        return events.problems(self.events(), anchors)

    @patiently
    def pin(self, sha256: str, reason: str, run: UUID | None = None) -> None:
        """Protect an artifact against deletion."""
        row = {"sha256": sha256, "reason": reason, "run": str(run or "")}
        with self._begin() as connection:
            connection.execute(insert(tables.pins).values(row).on_conflict_do_nothing())

    @patiently
    def pins_of(self, sha256: str) -> tuple[str, ...]:
        """Why an artifact may not be deleted; empty when it may."""
        query = sa.select(tables.pins.c.reason).where(tables.pins.c.sha256 == sha256).distinct()
        with self._begin() as connection:
            return tuple(sorted(connection.scalars(query)))

    def _session(self) -> Connection:
        """A connection of its own, outside transactions."""
        with connect.translated(self.engine.url):
            return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    @patiently
    def _attempt(self, lock: AdvisoryLock) -> bool:
        return lock.attempt()

    def secure(self, lock: AdvisoryLock, on_wait: Callable[[], None] | None = None) -> bool:
        """Make sure that `lock` is ours, waiting for whoever has it; True where there was somebody to wait for.

        `on_wait` is called once before waiting. A holder asks before it writes: a database that was away may have given the
        lock to another one.
        """
        waited = False
        while not self._attempt(lock):
            if not waited and on_wait is not None:
                on_wait()
            waited = True
            time.sleep(POLL_SECONDS)
        return waited

    @contextlib.contextmanager
    def hold(self, key: str, on_wait: Callable[[], None] | None = None) -> Iterator[AdvisoryLock]:
        """Hold `key` alone among all programs on this database, also over a restart of the database.

        The lock goes with the process that holds it, whatever kills that. It is not reentrant: a thread that takes it twice
        waits for itself.
        """
        lock = AdvisoryLock(self._session, run_lock_key(key))
        try:
            lock.waited = self.secure(lock, on_wait)
            lock.keep()
            yield lock
        finally:
            lock.release()

    @contextlib.contextmanager
    def run_lock(self, key: str, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
        """`hold`, for who only wants to know whether there was another one to wait for."""
        with self.hold(key, on_wait) as lock:
            yield lock.waited
