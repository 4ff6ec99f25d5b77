"""Heavy plays on devices: who had which device, for which run and how long. Device-hours are the sum of these rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from quantplay.errors import InternalError
from quantplay.store import tables

CPU = "cpu"
"""Identity of the device of a host that has no accelerator."""

JobOutcome = Literal["done", "reused", "failed", "lost"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One use of a device, from the moment it was taken."""

    id: UUID
    run: UUID | None  # none for a re-validation
    play: str
    host: str
    device: str
    started_at: datetime
    finished_at: datetime | None
    outcome: JobOutcome | None  # none while it runs

    @property
    def hours(self) -> float:
        """Device-hours; 0 while it runs, and for a lost one: nobody knows when its process ended."""
        if self.finished_at is None or self.outcome == "lost":
            return 0.0
        return (self.finished_at - self.started_at).total_seconds() / 3600


def start(connection: Connection, job: UUID, *, run: UUID | None, play: str, host: str, device: str) -> None:
    """A job whose process holds the device's lock: whatever else is still open there lost its process, and is marked so.

    An accelerator's own identity is the same in every container that sees it; `cpu` is one for each host.
    """
    table = tables.jobs
    there = (table.c.device == device) & ((table.c.host == host) if device == CPU else sa.true())
    gone = sa.update(table).where(there, table.c.finished_at.is_(None), table.c.id != job)
    connection.execute(gone.values(finished_at=tables.NOW, outcome="lost"))
    row = insert(table).values(id=job, run=run, play=play, host=host, device=device)
    connection.execute(row.on_conflict_do_nothing())


def finish(connection: Connection, job: UUID, outcome: JobOutcome) -> None:
    """How a job ended; the first word stays, but for `lost`, which was a guess."""
    if outcome not in get_args(JobOutcome):
        raise InternalError("a job can't end like that", value=outcome, allowed=", ".join(get_args(JobOutcome)))
    table = tables.jobs
    open_ = (table.c.id == job) & (table.c.finished_at.is_(None) | (table.c.outcome == "lost"))
    connection.execute(sa.update(table).where(open_).values(finished_at=tables.NOW, outcome=outcome))


def listed(connection: Connection, *, run: UUID | None, device: str | None, since: datetime | None) -> tuple[Job, ...]:
    """Oldest first."""
    table = tables.jobs
    query = sa.select(table).order_by(table.c.started_at, table.c.id)
    if run is not None:
        query = query.where(table.c.run == run)
    if device is not None:
        query = query.where(table.c.device == device)
    if since is not None:
        query = query.where(table.c.started_at >= since)
    return tuple(Job(**row._mapping) for row in connection.execute(query))


def hours_by_play(jobs: Iterable[Job]) -> Mapping[str, float]:
    """Device-hours of each play, in the order in which they first ran. Failed jobs took the device too."""
    found: dict[str, float] = {}
    for job in jobs:
        found[job.play] = found.get(job.play, 0.0) + job.hours
    return found
