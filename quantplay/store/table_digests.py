"""What all tables hold, as one digest a table: equal where every row is equal, on whatever server and in whatever order they lie."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.records import Digest, Record
from quantplay.store.tables import SCHEMA

TABLES = sa.text("""
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
""")
AS_TEXT = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
MADE_BY_OPENING = ("alembic_version", "meta")  # tables that hold a row before anything was recorded


class TableDigest(Record):
    """What one table holds."""

    rows: int
    content: Digest  # of its rows' digests, sorted


def table_names(connection: Connection) -> tuple[str, ...]:
    """Every table of ours; partitions are part of theirs."""
    return tuple(connection.scalars(TABLES, {"schema": SCHEMA}))


def table_digests(connection: Connection) -> dict[str, TableDigest]:
    """Table -> what it holds, generated columns included."""
    for name, value in AS_TEXT.items():
        connection.execute(sa.text(f"SET LOCAL {name} = '{value}'"))
    return {name: _digest(connection, name) for name in table_names(connection)}


def _digest(connection: Connection, table: str) -> TableDigest:
    row = "encode(sha256(convert_to(t::text, 'UTF8')), 'hex') COLLATE \"C\""
    query = sa.text(f'SELECT {row} AS digest FROM {SCHEMA}."{table}" t ORDER BY 1')  # noqa: S608 - a name of the catalogue
    sha, rows = hashlib.sha256(), 0
    for digest in connection.execute(query, execution_options={"yield_per": 10_000}).scalars():
        sha.update(digest.encode())
        rows += 1
    return TableDigest(rows=rows, content=sha.hexdigest())


def is_empty(connection: Connection) -> bool:
    """Whether nothing was ever recorded here: no tables, or only those that opening the database makes."""
    return not any(
        connection.scalar(sa.text(f'SELECT EXISTS (SELECT FROM {SCHEMA}."{name}")'))  # noqa: S608
        for name in table_names(connection)
        if name not in MADE_BY_OPENING
    )
