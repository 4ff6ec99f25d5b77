"""The product database as the rest of quantplay sees it: records by key, runs, attempts, events, pins and locks.

Every method is one transaction and may be called again with the same arguments. Threads may share a Store.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert

from quantplay.errors import IntegrityError, ServiceUnavailable
from quantplay.settings import Settings
from quantplay.store import connect, embedded, events, keeping, runs, tables
from quantplay.store.artifacts import ArtifactStore, require_known_protocol
from quantplay.store.events import Event
from quantplay.store.locks import AdvisoryLock, run_lock_key
from quantplay.store.patience import patiently
from quantplay.store.registry_adoption import AdoptionRegistry
from quantplay.store.registry_imports import ImportRegistry
from quantplay.store.registry_live import LiveRegistry
from quantplay.store.registry_packages import PackageRegistry
from quantplay.store.registry_platform import PlatformRegistry
from quantplay.store.registry_runs import RunRegistry
from quantplay.store.registry_signing import SigningRegistry
from quantplay.store.runs import Run
from quantplay.store.schema import ensure_schema

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


class Store(
    AdoptionRegistry, ImportRegistry, LiveRegistry, PackageRegistry, PlatformRegistry, RunRegistry, SigningRegistry
):
    """An open product database. Use it in a `with` block, or close it."""

    def __init__(self, engine: Engine, database_id: UUID, artifacts_url: str) -> None:
        super().__init__(engine, database_id)
        self._artifacts_url = artifacts_url

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

    # --- events, pins, locks ---------------------------------------------------------------------------------------------

    @patiently
    def append_event(self, actor: str, kind: str, subject: str, body: Mapping[str, Any] | None = None) -> Event:
        """Add to the chain: who, what, about what, and a JSON-safe body. Not idempotent: every call is an event."""
        with self._begin() as connection:
            return events.append(connection, actor, kind, subject, body or {})

    @patiently
    def events(
        self, *, kind: str | None = None, subject: str | None = None, subjects: Sequence[str] | None = None
    ) -> tuple[Event, ...]:
        """Events in their order, all or those of a kind, a subject or any of several."""
        with self._begin() as connection:
            return events.read(connection, kind=kind, subject=subject, subjects=subjects)

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

    @patiently
    def kept_files(self) -> dict[str, tuple[str, ...]]:
        """Digest -> why the file stays: pinned, part of a locked package, or of a run under way."""
        with self._begin() as connection:
            return keeping.reasons(connection)

    def remove_file(self, sha256: str, before: datetime) -> tuple[str, ...]:
        """Remove a stored file that nothing keeps and nobody wrote or used since `before`; or why it stays.

        Looked up in the moment of removing, while nobody can pin a file or open a run.
        """
        with self._begin() as connection:
            connection.execute(keeping.NOBODY_PINS_OR_OPENS)
            why = keeping.reasons(connection, sha256).get(sha256, ())
            modified = None if why else self.artifacts.modified(sha256)
            if modified is not None and modified >= before:
                why = ("stored or used again meanwhile",)
            if not why and not self.artifacts.delete(sha256):
                why = ("not there any more",)
        return why

    @patiently
    def runs_under_way(self) -> tuple[Run, ...]:
        """Runs that a process works on, or that wait for a signature, newest first."""
        with self._begin() as connection:
            return runs.under_way(connection)

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
