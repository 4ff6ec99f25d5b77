"""Workers of the pools and what each of them has: an orchestrator sends work only where it can be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from quantplay.records import Hardware
from quantplay.store import tables

ALIVE_SECONDS = 120.0
"""A worker not seen for longer counts as gone."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker, as it declared itself when it started."""

    name: str
    pool: str
    host: str
    device: str  # identity of the device its jobs run on
    chip: str  # as a plan's `target_chip` names it
    hardware: Hardware
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None  # where it said good-bye


def declare(
    connection: Connection, *, name: str, pool: str, host: str, device: str, hardware: Hardware, chip: str
) -> None:
    """A worker that starts; under a name that was there before, the same worker again."""
    values = {"pool": pool, "host": host, "device": device, "chip": chip, "hardware": hardware.body()}
    again = {**values, "started_at": tables.NOW, "seen_at": tables.NOW, "stopped_at": None}
    row = insert(tables.workers).values(name=name, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=again))


def seen(connection: Connection, name: str) -> bool:
    """The worker is alive now; False where nobody declared it."""
    table = tables.workers
    changes = {"seen_at": tables.NOW, "stopped_at": None}
    return connection.execute(sa.update(table).where(table.c.name == name).values(changes)).rowcount == 1


def stopped(connection: Connection, name: str) -> None:
    table = tables.workers
    connection.execute(sa.update(table).where(table.c.name == name).values(stopped_at=tables.NOW))


def listed(connection: Connection, pool: str | None, alive_seconds: float | None) -> tuple[Worker, ...]:
    """By pool and name; `alive_seconds`: only those seen within it that did not stop, None: all there ever were."""
    table = tables.workers
    query = sa.select(table).order_by(table.c.pool, table.c.name)
    if pool is not None:
        query = query.where(table.c.pool == pool)
    if alive_seconds is not None:
        since = tables.NOW - sa.literal(timedelta(seconds=alive_seconds))
        query = query.where(table.c.stopped_at.is_(None), table.c.seen_at > since)
    return tuple(
        Worker(**{**row._mapping, "hardware": Hardware.model_validate(row.hardware)})
        for row in connection.execute(query)
    )
