"""Gateways to each other and to the judge: which are there and what they go by, and feedback on an answer that another one gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from quantplay.records.traffic import FeedbackRow
from quantplay.store import tables
from quantplay.store.telemetry import parts

FORGOTTEN = timedelta(days=1)  # gateways not seen, and feedback nobody knows the answer of, for so long
MOST_FEEDBACK = 100_000  # rows that wait; above that none is taken
OVERLAP = timedelta(seconds=60)  # rows are seen by others when they are committed, which is after their time


@dataclass(frozen=True, kw_only=True)
class GatewaySeen:
    """A gateway's process."""

    source: str
    name: str  # host and process
    versions: Mapping[str, int]  # endpoint -> version of the pointer it goes by
    seconds_ago: float  # since it last said so, by the database's clock


@dataclass(frozen=True, kw_only=True)
class FeedbackWaiting:
    """What waits for the gateway that gave the answer."""

    rows: tuple[FeedbackRow, ...]
    until: datetime  # by the database's clock: what to ask from the next time
    expired: int  # rows that went with this call: a day long nobody knew the answer
    refused: int  # rows that were to be added and are not, since too many wait


def beat(connection: Connection, source: str, name: str, versions: Mapping[str, int]) -> None:
    """A gateway is there; those that are long gone are forgotten."""
    table = tables.live_gateways
    connection.execute(sa.delete(table).where(table.c.seen_at < sa.func.clock_timestamp() - FORGOTTEN))
    now = {"name": name, "versions": dict(versions), "seen_at": sa.func.clock_timestamp()}
    row = insert(table).values(source=source, **now)
    connection.execute(row.on_conflict_do_update(index_elements=[table.c.source], set_=now))


def seen(connection: Connection, within_seconds: float) -> tuple[GatewaySeen, ...]:
    """By name."""
    table = tables.live_gateways
    ago = sa.extract("epoch", sa.func.clock_timestamp() - table.c.seen_at)
    query = sa.select(table.c.source, table.c.name, table.c.versions, ago).where(ago <= within_seconds)
    return tuple(
        GatewaySeen(source=source, name=name, versions=versions, seconds_ago=float(seconds))
        for source, name, versions, seconds in connection.execute(query.order_by(table.c.name, table.c.source))
    )


def exchange_feedback(
    connection: Connection, given: Sequence[FeedbackRow], settled: Sequence[FeedbackRow], since: datetime | None
) -> FeedbackWaiting:
    """Leave what others may know, take away what is counted, and see what was left since `since`. Again changes nothing."""
    table = tables.live_feedback
    now = connection.scalar(sa.select(sa.func.clock_timestamp()))
    assert isinstance(now, datetime)
    key = sa.tuple_(table.c.id, table.c.client, table.c.signal)
    for part in parts([row.body() for row in settled]):
        named = [(row["id"], row["client"], row["signal"]) for row in part]
        connection.execute(sa.delete(table).where(key.in_(named)))
    expired = connection.execute(sa.delete(table).where(table.c.at < now - FORGOTTEN)).rowcount
    refused = 0
    if given:
        waiting = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        taken = sorted(given, key=lambda row: (row.id, row.client, row.signal))[: max(0, MOST_FEEDBACK - waiting)]
        refused = len(given) - len(taken)
        for part in parts([row.body() for row in taken]):
            connection.execute(insert(table).values(part).on_conflict_do_nothing())
    query = sa.select(table.c.id, table.c.client, table.c.signal).where(table.c.at >= (since or now) - OVERLAP)
    rows = tuple(FeedbackRow(**row._mapping) for row in connection.execute(query.order_by(table.c.at)))
    return FeedbackWaiting(rows=rows, until=now, expired=expired, refused=refused)
