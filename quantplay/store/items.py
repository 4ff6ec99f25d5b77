"""Per-item results in rows of their own: taken out of a record when it is stored, put back when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.records import ArmRun, ItemResult, Record
from quantplay.store import tables

COLUMNS = (
    "kind", "owner", "arm", "position", "split", "item", "slice", "cluster", "score", "graded", "response",
    "response_bytes", "gold_loss_nats",
)  # fmt: skip


def arms_of(record: Record) -> dict[str, ArmRun]:
    """Field name -> arm, for every field of `record` that holds per-item results."""
    return {name: value for name in type(record).model_fields if isinstance(value := getattr(record, name), ArmRun)}


def insert_items(connection: Connection, kind: str, owner: str, record: Record) -> None:
    """Write the items of all arms with one COPY: 9,000 rows take a fraction of a second."""
    statement = f"COPY {tables.SCHEMA}.items ({', '.join(COLUMNS)}) FROM STDIN"
    driver = cast("Any", connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for name, arm in arms_of(record).items():
            for row in _rows(kind, owner, name, arm):
                copy.write_row(row)


def _rows(kind: str, owner: str, name: str, arm: ArmRun) -> Iterator[Sequence[object]]:
    for position, item in enumerate(arm.items):
        nul = "\0" in item.response  # PostgreSQL's text can't hold it
        yield (
            kind,
            owner,
            name,
            position,
            arm.split,
            item.id,
            item.slice,
            item.cluster,
            item.score,
            item.graded,
            item.response.replace("\0", "\u2400") if nul else item.response,
            item.response.encode() if nul else None,
            item.gold_loss_nats,
        )


def read_items(connection: Connection, kind: str, owner: str) -> dict[str, tuple[ItemResult, ...]]:
    """Arm -> items in their order."""
    table = tables.items
    rows = connection.execute(
        sa.select(
            table.c.arm, table.c.item, table.c.slice, table.c.cluster, table.c.score, table.c.graded,
            table.c.response, table.c.response_bytes, table.c.gold_loss_nats,
        )
        .where(table.c.kind == kind, table.c.owner == owner)
        .order_by(table.c.arm, table.c.position)
    )  # fmt: skip
    found: dict[str, list[ItemResult]] = {}
    for arm, item, slice_name, cluster, score, graded, response, raw, loss in rows:
        found.setdefault(arm, []).append(
            ItemResult(
                id=item,
                slice=slice_name,
                cluster=cluster,
                score=score,
                graded=graded,
                response=response if raw is None else bytes(raw).decode(),
                gold_loss_nats=loss,
            )
        )
    return {arm: tuple(values) for arm, values in found.items()}
