"""Sanctioned baselines: measured once, reused for everything that would come out the same, until they expire or are revoked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from quantplay.errors import InputError
from quantplay.records import Digest
from quantplay.store import tables

DEFAULT_DAYS = 90


@dataclass(frozen=True, kw_only=True)
class Sanction:
    """One baseline and how long it may be reused."""

    baseline: Digest
    identity: Digest  # of model, evaluation set, harness, hardware and stack: what a reuse has to match
    generation: int  # 0, then one more for each time it was measured again
    measured_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    reason: str | None  # why it was revoked
    runs: int  # that used it
    valid: bool


def sanctioned(connection: Connection, identity: str, days: int | None) -> Digest | None:
    """The newest baseline of this identity that may be reused; one older than `days` may not, whatever it was sanctioned for."""
    table = tables.baseline_sanctions
    youngest = table.c.measured_at + timedelta(days=days or DEFAULT_DAYS)
    query = sa.select(table.c.baseline).where(table.c.identity == identity, _valid(), youngest > tables.NOW)
    return connection.scalar(query.order_by(table.c.generation.desc()).limit(1))


def generations(connection: Connection, identity: str) -> int:
    """How many baselines of this identity were measured so far."""
    table = tables.baseline_sanctions
    return connection.scalar(sa.select(sa.func.count()).where(table.c.identity == identity)) or 0


def sanction(connection: Connection, baseline: str, identity: str, days: int | None) -> None:
    """Let a recorded baseline be reused for `days` from when it was recorded. The first sanction of a baseline stays."""
    table, baselines = tables.baseline_sanctions, tables.baselines
    expires = baselines.c.created_at + timedelta(days=days or DEFAULT_DAYS)
    number = sa.select(sa.func.count()).where(table.c.identity == identity).scalar_subquery()
    row = sa.select(baselines.c.key, sa.literal(identity), number, baselines.c.created_at, expires)
    columns = ["baseline", "identity", "generation", "measured_at", "expires_at"]
    statement = insert(table).from_select(columns, row.where(baselines.c.key == baseline))
    connection.execute(statement.on_conflict_do_nothing())


def identity_of(connection: Connection, baseline: str) -> Digest | None:
    table = tables.baseline_sanctions
    return connection.scalar(sa.select(table.c.identity).where(table.c.baseline == baseline))


def revoke(connection: Connection, prefix: str, reason: str) -> Digest:
    """Take the sanction of the one baseline whose key starts with `prefix` away; returns the whole key."""
    table = tables.baseline_sanctions
    found = connection.scalars(sa.select(table.c.baseline).where(sa.func.starts_with(table.c.baseline, prefix))).all()
    if len(found) != 1:
        raise InputError(
            "no sanctioned baseline has this key"
            if not found
            else "several sanctioned baselines have a key that starts like this",
            value=prefix,
            fix="`quantplay registry baselines` lists them; give more characters of the key",
        )
    change = sa.update(table).where(table.c.baseline == found[0], table.c.revoked_at.is_(None))
    connection.execute(change.values(revoked_at=tables.NOW, reason=reason))
    return found[0]


def listed(connection: Connection) -> tuple[Sanction, ...]:
    """Every baseline, newest first."""
    table, plays = tables.baseline_sanctions, tables.run_plays
    runs = sa.select(sa.func.count(plays.c.run.distinct())).where(plays.c.key == table.c.baseline).scalar_subquery()
    query = sa.select(table, runs.label("runs"), _valid().label("valid"))
    rows = connection.execute(query.order_by(table.c.measured_at.desc(), table.c.baseline))
    return tuple(Sanction(**row._mapping) for row in rows)


def _valid() -> sa.ColumnElement[bool]:
    table = tables.baseline_sanctions
    return sa.and_(table.c.revoked_at.is_(None), table.c.expires_at > tables.NOW)
