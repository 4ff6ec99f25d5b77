"""What gateways count: cumulative, so that writing twice counts nothing twice, and request rows that no decision rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from quantplay.records.traffic import CounterRow, RequestRow, ServedBy
from quantplay.store import tables

TOTAL = 0  # the minute that holds a process's sum since it began
DAYS = "quantplay.live_requests_"  # then the day, as 20261121
AT_ONCE = 1000  # rows a statement

Totals = Mapping[tuple[ServedBy, str], int]
"""(assigned arm, counter) -> sum over all gateways."""


def write(connection: Connection, rows: Sequence[CounterRow], requests: Sequence[RequestRow] = ()) -> None:
    """Add what gateways flush. A counter that comes again is the larger of the two, and so is its process's sum.

    The same rows twice change nothing; rows of one minute may come in any order.
    """
    counters = tables.live_counters
    for part in parts([row.body() for row in merged(rows)]):
        row = insert(counters)
        larger = sa.func.greatest(counters.c.value, row.excluded.value)
        key = [column.name for column in counters.primary_key]
        connection.execute(row.values(part).on_conflict_do_update(index_elements=key, set_={"value": larger}))
    dated = [row.body() | {"at": datetime.fromtimestamp(row.at, UTC)} for row in requests]
    for day in sorted({row["at"].date() for row in dated}):
        ensure_day(connection, day)
    for part in parts(dated):
        connection.execute(insert(tables.live_requests).values(part).on_conflict_do_nothing())


def merged(rows: Sequence[CounterRow]) -> list[CounterRow]:
    """One row a key, the largest, in the order of the keys: two writers that meet can't wait for each other."""
    found: dict[tuple, CounterRow] = {}
    for row in rows:
        key = (row.endpoint, row.revision, row.minute, row.arm, row.name, row.source)
        if key not in found or found[key].value < row.value:
            found[key] = row
    return [found[key] for key in sorted(found)]


def parts(rows: list[dict]) -> Iterator[list[dict]]:
    for start in range(0, len(rows), AT_ONCE):
        yield rows[start : start + AT_ONCE]


def totals(connection: Connection, endpoint: str, revision: int) -> Totals:
    """Everything counted for a revision since it began."""
    table = tables.live_counters
    query = (
        sa.select(table.c.arm, table.c.name, sa.func.sum(table.c.value))
        .where(table.c.endpoint == endpoint, table.c.revision == revision, table.c.minute == TOTAL)
        .group_by(table.c.arm, table.c.name)
    )
    return {(arm, name): int(value) for arm, name, value in connection.execute(query)}


def minutes(
    connection: Connection, endpoint: str, revision: int, since: int
) -> dict[int, dict[tuple[ServedBy, str], int]]:
    """Minute (Unix time // 60) from `since` on -> what was counted in it; the roll-up that charts are drawn from."""
    table = tables.live_counters
    query = (
        sa.select(table.c.minute, table.c.arm, table.c.name, sa.func.sum(table.c.value))
        .where(table.c.endpoint == endpoint, table.c.revision == revision, table.c.minute >= max(since, 1))
        .group_by(table.c.minute, table.c.arm, table.c.name)
        .order_by(table.c.minute)
    )
    found: dict[int, dict[tuple[ServedBy, str], int]] = {}
    for minute, arm, name, value in connection.execute(query):
        found.setdefault(minute, {})[arm, name] = int(value)
    return found


def ensure_day(connection: Connection, day: date) -> None:
    """The partition of a day's request rows."""
    name = f"{DAYS}{day:%Y%m%d}"
    if connection.scalar(sa.select(sa.func.to_regclass(name))) is None:
        after = day + timedelta(days=1)
        connection.execute(sa.text(
            f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF quantplay.live_requests "
            f"FOR VALUES FROM ('{day:%Y-%m-%d} 00:00+00') TO ('{after:%Y-%m-%d} 00:00+00')"
        ))  # fmt: skip


def forget(connection: Connection, *, requests_before: date, minutes_before: int) -> int:
    """Retention: whole days of request rows, and minutes of counters; sums stay. Returns how many days went."""
    names = connection.scalars(sa.text(
        "SELECT relname FROM pg_partition_tree('quantplay.live_requests') JOIN pg_class ON oid = relid WHERE isleaf"
    )).all()  # fmt: skip
    old = sorted(name for name in names if f"quantplay.{name}" < f"{DAYS}{requests_before:%Y%m%d}")
    for name in old:
        connection.execute(sa.text(f"DROP TABLE quantplay.{name}"))
    table = tables.live_counters
    connection.execute(sa.delete(table).where(table.c.minute > TOTAL, table.c.minute < minutes_before))
    return len(old)
