"""PostgreSQL's advisory locks: their keys, who holds one, and a lock that is kept over a restart of the database.

They are per database, belong to a session, and go with it, whatever ends the process or the machine behind it.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from quantplay.errors import ServiceUnavailable

KEEP_SECONDS = 1.0  # between two looks at the session that holds a lock
HEAD_START_SECONDS = 6.0  # after a break of the connection, who held the lock takes it again before anybody who waits


def lock_key(name: str) -> int:
    """A signed 64-bit number for `name`."""
    return int.from_bytes(hashlib.sha256(f"quantplay {name}".encode()).digest()[:8], "big", signed=True)


def run_lock_key(key: str) -> int:
    """The number of the lock that `Store.run_lock(key)` takes."""
    return lock_key(f"run {key}")


def turn_name(run: object) -> str:
    """Name of the lock that whoever works on a run holds; `run`: its id."""
    return f"run {run}"


MIGRATION = lock_key("migration")
EVENTS = 7_161_803_398_874_989_482
"""Also written in the trigger of the events table: it must not change."""


def held_keys(connection: Connection) -> frozenset[int]:
    """Every key of this database that some living session holds."""
    query = sa.text("""
        select (classid::bigint << 32) | objid::bigint from pg_locks
        where locktype = 'advisory' and objsubid = 1 and granted
        and database = (select oid from pg_database where datname = current_database())
    """)
    return frozenset(connection.scalars(query))


class AdvisoryLock:
    """One lock, held by a database session of its own.

    A database that restarts forgets its locks. While this one is held a thread looks after the session and takes the lock
    again as soon as the database is back, ahead of those who wait. `attempt` tells whether it is ours at this moment.
    """

    def __init__(self, session: Callable[[], Connection], number: int) -> None:
        """`session`: a new connection in autocommit; it may raise ServiceUnavailable."""
        self._session, self._number = session, number
        self._connection: Connection | None = None
        self._ours = False
        self._was_ours = False
        self._saw_another = False  # it was somebody else's when we came
        self._broke_at = float("-inf")  # monotonic seconds
        self._guard = threading.Lock()
        self._released = threading.Event()
        self.waited = False

    def attempt(self) -> bool:
        """Take the lock if nobody else has it; True where it is ours. Raises ServiceUnavailable while the database is away."""
        with self._guard:
            if self._released.is_set():
                return False
            try:
                if self._connection is None:
                    self._connection = self._session()
                if self._ours:
                    self._connection.execute(sa.select(1))  # the session lives, and the lock with it
                elif not self._saw_another or time.monotonic() - self._broke_at >= HEAD_START_SECONDS:
                    self._ours = bool(self._connection.scalar(sa.select(sa.func.pg_try_advisory_lock(self._number))))
                    self._saw_another = not (self._ours or self._was_ours)
                    self._was_ours = self._was_ours or self._ours
                return self._ours
            except (SQLAlchemyError, ServiceUnavailable) as error:
                self._end_session()
                self._broke_at = time.monotonic()
                if isinstance(error, ServiceUnavailable):
                    raise
                raise ServiceUnavailable(
                    "the database does not answer: the session that holds a lock broke off",
                    fix="see that the server runs and can be reached",
                ) from None

    def keep(self) -> None:
        """Look after the session from now on."""
        threading.Thread(target=self._watch, name="quantplay-lock", daemon=True).start()

    def _watch(self) -> None:
        while not self._released.wait(KEEP_SECONDS):
            with contextlib.suppress(ServiceUnavailable):
                self.attempt()

    def release(self) -> None:
        """Give it back; ending the session frees it in every case, also where the connection is broken."""
        self._released.set()
        with self._guard:
            self._end_session()

    def _end_session(self) -> None:
        connection, self._connection, self._ours = self._connection, None, False
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()
