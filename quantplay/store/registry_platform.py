"""The Store: locked packages measured again, incidents, workers and the devices they use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

from quantplay.records import (
    Evaluation,
    Hardware,
    Revalidation,
)
from quantplay.store import (
    catalogue,
    incidents,
    jobs,
    records,
    regressions,
    revalidations,
    workers,
)
from quantplay.store.incidents import Incident, Learned, Lesson
from quantplay.store.jobs import Job, JobOutcome
from quantplay.store.patience import patiently
from quantplay.store.registry_records import RecordRegistry
from quantplay.store.regressions import Refused, TakenBack, WentWrong
from quantplay.store.revalidations import LockedPackage
from quantplay.store.workers import ALIVE_SECONDS, Worker


class PlatformRegistry(RecordRegistry):
    """What a platform keeps."""

    # --- re-validations and incidents ------------------------------------------------------------------------------------

    @patiently
    def locked_packages(self, prefix: str = "") -> tuple[LockedPackage, ...]:
        """Every package that a run locked, newest first; `prefix`: first characters of its key, or its folder."""
        with self._begin() as connection:
            return revalidations.locked(connection, catalogue.key_in(prefix))

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
    def open_incident(self, *, kind: str, package: str, what: str) -> Incident:
        """The open incident of this kind and package: a new one, or the one that is open already."""
        with self._begin() as connection:
            return incidents.opened(connection, kind=kind, package=package, revalidation=None, what=what)

    @patiently
    def close_incident(self, prefix: str, *, by: str, resolution: str, lesson: Lesson) -> Incident:
        """Close the one open incident whose id starts with `prefix`; who did it, what ended it and what was learned is kept."""
        with self._begin() as connection:
            return incidents.close(connection, prefix, by, resolution, lesson)

    @patiently
    def lessons(
        self, *, text: str = "", kind: str = "", model: str = "", folded_into: str = "", about: Sequence[str] = ()
    ) -> tuple[Learned, ...]:
        """What was learned from incidents, newest first: all of it, or what is asked for (incidents.lessons)."""
        with self._begin() as connection:
            return incidents.lessons(
                connection, text=text, kind=kind, model=model, folded_into=folded_into, about=about
            )

    @patiently
    def list_incidents(self, *, open_only: bool = False) -> tuple[Incident, ...]:
        """Open ones first, newest first."""
        with self._begin() as connection:
            return incidents.listed(connection, open_only=open_only)

    @patiently
    def refused_candidates(self) -> tuple[Refused, ...]:
        """What the gate or a signer kept from being locked, each file once."""
        with self._begin() as connection:
            return regressions.refused(connection)

    @patiently
    def incidents_served(self) -> tuple[WentWrong, ...]:
        """Every incident with the endpoints its package was served at then, oldest first."""
        with self._begin() as connection:
            return regressions.went_wrong(connection)

    @patiently
    def rollbacks_without_package(self) -> tuple[TakenBack, ...]:
        """What the judge took back that no package and so no incident tells of, oldest first."""
        with self._begin() as connection:
            return regressions.taken_back(connection)

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
