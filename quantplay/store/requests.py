"""Requests for signatures that a suspended flow run shows, and what became of them; all from the chain of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.store import events, signoffs, tables
from quantplay.store.signoffs import OPENED, RESUMED, WAITS, Awaiting

REQUESTED, ANSWERED, REMINDED, EXPIRED = (
    "signoff.requested", "signoff.answered", "signoff.reminded", "signoff.expired",
)  # fmt: skip
"""Kinds of events: shown in a form; a form's input handled, once; a reminder; nobody answered in time."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One form that a suspended flow run shows."""

    at: datetime
    run: str
    flow_run: str  # Prefect's id
    key: str  # of the suspension; one flow run never uses one twice
    stage: str
    decision: str  # digest of the record the texts are about
    expires_at: str
    texts: Mapping[str, str] = field(default_factory=dict)  # label in the form -> exact text to sign
    page: str | None = None  # of the flow run in Prefect


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A run that waits for signatures, since when, and what was done about it."""

    waits: Awaiting
    asked_at: datetime
    reminded: tuple[datetime, ...]  # since it was asked
    expired_at: datetime | None  # since it was asked
    request: Request | None  # the latest form; None for a run on one machine


def of_run(connection: Connection, run: str) -> tuple[Request, ...]:
    """Every form shown for this run, oldest first."""
    happened = events.read(connection, kind=REQUESTED, subject=run)
    return tuple(Request(at=one.at, run=run, **one.body) for one in happened)


def answered(connection: Connection, run: str) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """(flow run, key) -> what became of the input of that form."""
    happened = events.read(connection, kind=ANSWERED, subject=run)
    return {(one.body["flow_run"], one.body["key"]): one.body for one in happened}


def run_of_flow_run(connection: Connection, flow_run: str) -> str | None:
    """The run that this flow run opened or took up last; it goes on with no other, whoever else worked on that run since."""
    table = tables.events
    query = sa.select(table.c.subject).where(
        table.c.kind.in_((OPENED, RESUMED)), table.c.body["flow_run"].astext == flow_run
    )
    found = connection.scalar(query.order_by(table.c.seq.desc()).limit(1))
    if found is None:  # killed before its first event
        row = sa.select(tables.runs.c.id).where(tables.runs.c.prefect_flow_run_id == flow_run)
        found = connection.scalar(row.order_by(tables.runs.c.started_at.desc()).limit(1))
    return str(found) if found is not None else None


def waiting(connection: Connection, run: UUID) -> Waiting | None:
    """What is known of a run that waits for signatures; None where it waits for nothing."""
    waits = signoffs.awaiting(connection, run)
    if waits is None:
        return None
    happened = events.read(connection, subject=str(run))
    asked = max((one for one in happened if one.kind == WAITS), key=lambda one: one.seq)
    since = [one for one in happened if one.seq > asked.seq]
    return Waiting(
        waits=waits,
        asked_at=asked.at,
        reminded=tuple(one.at for one in since if one.kind == REMINDED),
        expired_at=next((one.at for one in since if one.kind == EXPIRED), None),
        request=next(iter(of_run(connection, str(run))[-1:]), None),
    )


def all_waiting(connection: Connection) -> tuple[Waiting, ...]:
    """Every run that waits for a signature, longest asked first; also one that was resumed and killed before it ended."""
    table = tables.runs
    open_ones = table.c.outcome.is_(None) | (table.c.outcome == "awaiting_signature")
    query = sa.select(table.c.id).where(open_ones).order_by(table.c.started_at)
    found = (waiting(connection, run) for run in connection.scalars(query).all())
    return tuple(one for one in found if one is not None)
