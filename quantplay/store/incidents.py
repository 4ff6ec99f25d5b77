"""What went wrong with a locked package: opened by what found it, closed by a person who says why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from quantplay.errors import InputError
from quantplay.records import Digest
from quantplay.store import events, tables

OPENED, CLOSED = "incident.opened", "incident.closed"  # kinds of events


@dataclass(frozen=True, kw_only=True)
class Incident:
    """At most one of a kind is open for a package: what is found again while it is open belongs to it."""

    id: UUID
    kind: str  # regression
    package: Digest
    revalidation: Digest | None  # that found it
    what: str  # a sentence
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    resolution: str | None  # why it was closed


def opened(connection: Connection, *, kind: str, package: str, revalidation: str | None, what: str) -> Incident:
    """The open incident of this kind and package: a new one, or the one that is open already."""
    table = tables.incidents
    row = {"id": uuid4(), "kind": kind, "package": package, "revalidation": revalidation, "what": what}
    made = connection.scalar(insert(table).values(row).on_conflict_do_nothing().returning(table.c.id))
    if made is not None:
        body = {"kind": kind, "package": package, "revalidation": revalidation, "what": what}
        events.append(connection, "quantplay", OPENED, str(made), body)
    same = (table.c.kind == kind) & (table.c.package == package) & table.c.closed_at.is_(None)
    return Incident(**connection.execute(sa.select(table).where(same)).one()._mapping)


def close(connection: Connection, prefix: str, by: str, resolution: str) -> Incident:
    """Close the one open incident whose id starts with `prefix`. Raises InputError where there is none, or several."""
    table = tables.incidents
    starts = sa.func.starts_with(sa.cast(table.c.id, sa.Text), prefix.lower())
    found = connection.scalars(sa.select(table.c.id).where(starts, table.c.closed_at.is_(None))).all()
    if len(found) != 1:
        raise InputError(
            "no open incident has this id" if not found else "several open incidents have an id that starts like this",
            value=prefix,
            fix="`quantplay registry incidents` lists them; give more characters of the id",
        )
    change = sa.update(table).where(table.c.id == found[0])
    connection.execute(change.values(closed_at=tables.NOW, closed_by=by, resolution=resolution))
    events.append(connection, by, CLOSED, str(found[0]), {"resolution": resolution})
    return Incident(**connection.execute(sa.select(table).where(table.c.id == found[0])).one()._mapping)


def listed(connection: Connection, *, open_only: bool = False) -> tuple[Incident, ...]:
    """Open ones first, then newest first."""
    table = tables.incidents
    query = sa.select(table).order_by(table.c.closed_at.is_not(None), table.c.opened_at.desc(), table.c.id)
    if open_only:
        query = query.where(table.c.closed_at.is_(None))
    return tuple(Incident(**row._mapping) for row in connection.execute(query))
