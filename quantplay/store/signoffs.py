"""Sign-offs in the database: recorded once, with an event, and what a run that waits for them waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.records import Digest, SignOff
from quantplay.store import events, records, tables
from quantplay.store.locks import lock_key

OPENED, RESUMED, WAITS, RECORDED = "run.opened", "run.resumed", "run.awaiting", "signoff.recorded"
"""Kinds of events that tell how a run with signatures went."""


@dataclass(frozen=True, kw_only=True)
class Awaiting:
    """What a run waits for a signature with; from its events."""

    run: str
    plan_path: str  # where the plan lay when the run was opened, or resumed last
    inputs: Mapping[str, Digest]  # kind -> content
    stage: Literal["gate", "training", "lock"]
    gate: Digest
    decision: Digest  # of the record
    gate_changes: int
    package: Digest | None  # key of the PackageRef, at stage lock
    manifest: Digest | None
    trail: Mapping[str, Any]  # what the run had produced by then
    business_case: Digest | None = None  # of the plan's business case, at stage training
    address: str | None = None  # where the plan was fetched from; what another machine is given to run it

    @property
    def id(self) -> UUID:
        return UUID(self.run)


Check = Callable[[Sequence[SignOff], Awaiting | None, str | None], Sequence[Fault]]
"""Reasons to refuse: (sign-offs of the run, what it waits for, when a text with this nonce was recorded)."""


def put(connection: Connection, signoff: SignOff, check: Check | None = None) -> None:
    """Record a sign-off with its event. Sign-offs of one run are recorded one after the other, so `check` sees all before it.

    Raises InputError with what `check` finds, and where the text was used before: a nonce is recorded once.
    """
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key(f"signoff {signoff.run}"))))
    used = nonce_used_at(connection, signoff.nonce)
    faults = (
        tuple(check(of_run(connection, signoff.run), awaiting(connection, UUID(signoff.run)), used)) if check else ()
    )
    if used is not None and not faults:
        faults = (Fault(where="nonce", what="this text has been used before", value=f"recorded {used}"),)
    if faults:
        raise InputError("this signature is not accepted", faults=faults)
    records.put(connection, records.SIGNOFF, signoff.digest(), signoff)
    body = signoff.model_dump(
        include={
            "stage",
            "role",
            "verdict",
            "comment",
            "gate",
            "decision",
            "manifest",
            "business_case",
            "key",
            "login",
            "owners",
        }
    )
    events.append(connection, signoff.person, RECORDED, signoff.run, {**body, "signoff": signoff.digest()})


def nonce_used_at(connection: Connection, nonce: str) -> str | None:
    """When a text with this nonce was recorded."""
    table = tables.signoffs
    body = connection.scalar(sa.select(table.c.body).where(table.c.nonce == nonce))
    return body["recorded_at"] if body else None


def of_run(connection: Connection, run: str) -> tuple[SignOff, ...]:
    """Oldest first. Raises IntegrityError where one that the events tell of is gone: a rejection must not vanish."""
    found = _where(connection, tables.signoffs.c.run == run)
    there = {one.digest() for one in found}
    told = [event.body["signoff"] for event in events.read(connection, kind=RECORDED, subject=run)]
    if gone := [digest for digest in told if digest not in there]:
        raise IntegrityError(
            f"a signature of run {run[:8]} is gone from the database", value=f"sign-off {gone[0]}",
            fix="restore the database from a backup, and find out who changed it",
        )  # fmt: skip
    return found


def of_decision(connection: Connection, decision: Digest) -> tuple[SignOff, ...]:
    """Under whatever run, oldest first: who rejected this decision before stays visible."""
    return _where(connection, tables.signoffs.c.decision == decision)


def _where(connection: Connection, condition: sa.ColumnElement[bool]) -> tuple[SignOff, ...]:
    table = tables.signoffs
    keys = connection.scalars(sa.select(table.c.key).where(condition).order_by(table.c.created_at, table.c.key)).all()
    found = (records.get(connection, records.SIGNOFF, key) for key in keys)
    return tuple(one for one in found if one is not None)


def awaiting(connection: Connection, run: UUID) -> Awaiting | None:
    """What `run` waits for; None where it waits for nothing.

    A run that was resumed and killed before it ended still waits: its signatures stand, and it can be resumed again.
    """
    table = tables.runs
    row = connection.execute(sa.select(table.c.outcome).where(table.c.id == run)).first()
    if row is None or row.outcome not in (None, "awaiting_signature"):
        return None
    happened = events.read(connection, subject=str(run))
    waits = [event.body for event in happened if event.kind == WAITS]
    opened = [event.body for event in happened if event.kind == OPENED]
    at = [
        event.body["plan_path"] for event in happened if event.kind in (OPENED, RESUMED) and "plan_path" in event.body
    ]
    if not waits or not opened or not at:
        return None
    address = opened[-1].get("address")
    return Awaiting(run=str(run), plan_path=at[-1], address=address, inputs=opened[-1]["inputs"], **waits[-1])


def awaiting_of_plan(connection: Connection, plan: Digest) -> tuple[Awaiting, ...]:
    """Runs of this plan that wait for a signature, newest first."""
    table = tables.runs
    open_ones = table.c.outcome.is_(None) | (table.c.outcome == "awaiting_signature")
    query = sa.select(table.c.id).where(table.c.plan == plan, open_ones).order_by(table.c.started_at.desc())
    found = (awaiting(connection, run) for run in connection.scalars(query).all())
    return tuple(one for one in found if one is not None)


def newer_gates(connection: Connection, run: UUID) -> tuple[tuple[str, Digest], ...]:
    """(run, gate) of every run that was taken up after `run`, of a plan of the same name and model with another gate.

    A run is taken up when it is opened and when it is resumed: who goes back to the older plan and runs it again can sign it.
    """
    query = sa.text("""
        with taken_up as (
            select subject, max(seq) as seq from quantplay.events where kind in (:opened, :resumed) group by subject
        ), opened as (
            select t.seq, e.subject as run, e.body->>'gate' as gate, e.body#>>'{inputs,model}' as model, p.body->>'name' as name
            from quantplay.events e join quantplay.plans p on p.key = e.body->>'plan' join taken_up t on t.subject = e.subject
            where e.kind = :opened
        )
        select later.run, later.gate from opened mine join opened later
        on later.seq > mine.seq and later.name = mine.name and later.model = mine.model and later.gate <> mine.gate
        where mine.run = :run order by later.seq
    """)
    given = {"opened": OPENED, "resumed": RESUMED, "run": str(run)}
    return tuple((row.run, row.gate) for row in connection.execute(query, given))
