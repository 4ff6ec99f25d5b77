"""Runs, what each play of a run did, and the count of looks at a gate split.

A run whose process is gone can't say so itself. So `interrupted` is no column: a run is noted as running, and nobody holds the lock
that whoever works on it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from quantplay.errors import InputError
from quantplay.store import tables
from quantplay.store.locks import held_keys, lock_key, run_lock_key, turn_name
from quantplay.store.signoffs import OPENED

SETTLING = sa.text("interval '15 seconds'")
"""How long a young run, or a database that was just started, gets for taking its lock before a run counts as interrupted."""


@dataclass(frozen=True, kw_only=True)
class RunPlay:
    """One play of a run, finished."""

    play: str
    key: str  # of the record it produced or found
    reused: bool  # found, not computed
    started_at: datetime
    seconds: float
    attempt: int  # candidate or gate attempt it belongs to, from 1


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the playbook."""

    id: UUID
    plan: str  # digest of the plan
    profile: str
    state: str  # running | interrupted | finished | failed | cancelled
    outcome: str | None  # locked, close, broken ...
    exit_code: int | None
    started_at: datetime
    finished_at: datetime | None
    prefect_flow_run_id: str | None
    package: str | None  # key of the package
    plays: tuple[RunPlay, ...]  # in the order they started
    left_at: str | None = None  # envelope | ptq | mixed_precision | training: the play whose result ended it


@dataclass(frozen=True, kw_only=True)
class Passage:
    """How far a run came."""

    run: UUID
    model: str  # content of the pinned model; empty where the run was opened without saying
    plays: frozenset[str]  # names of finished plays
    left_at: str | None
    outcome: str | None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One look at the gate split."""

    plan: str  # digest of the plan that looked
    gate: str  # digest of the gate applied
    attempt: int
    artifact: str  # sha256 of the file that was looked at
    at: datetime


def start(connection: Connection, *, plan: str, profile: str, run: UUID, prefect_flow_run_id: str | None) -> bool:
    """A new run; or, with the id of one that exists, that one running again (a resume). Returns whether it is new."""
    identity = run
    table = tables.runs
    row = insert(table).values(
        id=identity, plan=plan, profile=profile, state="running", prefect_flow_run_id=prefect_flow_run_id
    )
    again = {"state": "running", "outcome": None, "exit_code": None, "finished_at": None}
    if prefect_flow_run_id is not None:
        again["prefect_flow_run_id"] = prefect_flow_run_id
    open_ = table.c.outcome.is_(None) | (table.c.outcome == "awaiting_signature")
    new = sa.literal_column("xmax = 0")  # inserted by this statement, not updated
    there = connection.execute(
        row.on_conflict_do_update(index_elements=["id"], set_=again, where=open_).returning(
            table.c.plan, new.label("new")
        )
    ).first()
    if there is None:
        raise InputError(
            "this run has ended and can't go on",
            value=f"run {identity}",
            fix=f"`quantplay show {str(identity)[:8]}` says how",
        )
    if there.plan != plan:
        raise InputError(
            "this run belongs to another plan", value=f"run {identity}, plan {plan[:12]}", allowed=there.plan
        )
    return there.new


def finish(
    connection: Connection,
    run: UUID,
    *,
    state: str,
    outcome: str | None,
    exit_code: int,
    package: str | None,
    left_at: str | None = None,
) -> bool:
    """How a run ended. An ending that another process reached is not undone: False, unless it is the same."""
    table = tables.runs
    row = connection.execute(sa.select(table.c.outcome).where(table.c.id == run).with_for_update()).first()
    if row is None:
        raise InputError("there is no such run", value=run, fix="list the runs with `quantplay show`")
    if row.outcome not in (None, "awaiting_signature", outcome):
        return False
    connection.execute(
        sa.update(table)
        .where(table.c.id == run)
        .values(
            state=state, outcome=outcome, exit_code=exit_code, package=package, left_at=left_at, finished_at=tables.NOW
        )
    )
    return True


def record_play(connection: Connection, run: UUID, values: dict[str, Any]) -> bool:
    """Note a finished play; the first note of the same play and key stays. Returns whether this is the first."""
    noted = insert(tables.run_plays).values(run=run, **values).on_conflict_do_nothing()
    return connection.scalar(noted.returning(tables.run_plays.c.run)) is not None


def find(connection: Connection, *, prefix: str = "", limit: int | None = None) -> tuple[Run, ...]:
    """Runs whose id starts with `prefix`, newest first."""
    table = tables.runs
    query = sa.select(table)
    if prefix:
        wanted = prefix.lower().strip()
        # An id written without hyphens is found as well.
        query = query.where(
            sa.func.starts_with(sa.cast(table.c.id, sa.Text), wanted)
            | sa.func.starts_with(sa.func.replace(sa.cast(table.c.id, sa.Text), "-", ""), wanted)
        )
    return _read(connection, query.limit(limit))


def of_flow_run(connection: Connection, flow_run: str) -> tuple[Run, ...]:
    """Runs that this run of a Prefect flow opened or went on with, newest first."""
    return _read(connection, sa.select(tables.runs).where(tables.runs.c.prefect_flow_run_id == flow_run))


def interrupted(connection: Connection, plan: str) -> tuple[Run, ...]:
    """Runs of this plan whose process is gone, newest first."""
    table = tables.runs
    found = _read(connection, sa.select(table).where(table.c.plan == plan, table.c.state == "running"))
    return tuple(run for run in found if run.state == "interrupted")


def under_way(connection: Connection) -> tuple[Run, ...]:
    """Runs that a process works on, or that wait for a signature, newest first."""
    table = tables.runs
    found = _read(
        connection, sa.select(table).where((table.c.state == "running") | (table.c.outcome == "awaiting_signature"))
    )
    return tuple(run for run in found if run.state != "interrupted")


def _read(connection: Connection, query: sa.Select[Any]) -> tuple[Run, ...]:
    table = tables.runs
    rows = connection.execute(query.order_by(table.c.started_at.desc(), table.c.id)).all()
    plays = _plays(connection, [row.id for row in rows])
    gone = _gone(connection, [row.id for row in rows if row.state == "running"])
    return tuple(
        Run(
            **{**row._mapping, "state": "interrupted" if row.id in gone else row.state},
            plays=tuple(plays.get(row.id, ())),
        )
        for row in rows
    )


def _gone(connection: Connection, running: Sequence[UUID]) -> frozenset[UUID]:
    """Which of the runs noted as running nobody works on."""
    if not running:
        return frozenset()
    table = tables.runs
    settled = (tables.NOW - table.c.started_at > SETTLING) & (
        tables.NOW - sa.func.pg_postmaster_start_time() > SETTLING
    )
    old = connection.scalars(sa.select(table.c.id).where(table.c.id.in_(running), settled)).all()
    held = held_keys(connection) if old else frozenset()
    return frozenset(run for run in old if run_lock_key(turn_name(run)) not in held)


def _plays(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, list[RunPlay]]:
    table = tables.run_plays
    query = sa.select(table).where(table.c.run.in_(ids)).order_by(table.c.started_at, table.c.play, table.c.key)
    found: dict[UUID, list[RunPlay]] = {}
    for row in connection.execute(query) if ids else ():
        values = dict(row._mapping)
        found.setdefault(values.pop("run"), []).append(RunPlay(**values))
    return found


def passages(connection: Connection) -> tuple[Passage, ...]:
    """How far every run came, oldest first."""
    table, opened = tables.runs, tables.events.alias()
    model = opened.c.body["inputs"]["model"].astext
    query = (
        sa.select(table.c.id, table.c.left_at, table.c.outcome, sa.func.coalesce(model, "").label("model"))
        .join(opened, (opened.c.subject == sa.cast(table.c.id, sa.Text)) & (opened.c.kind == OPENED), isouter=True)
        .order_by(table.c.started_at, table.c.id)
    )
    rows = connection.execute(query).all()
    done = tables.run_plays.c
    of_each = sa.select(done.run, sa.func.array_agg(done.play.distinct()).label("plays")).group_by(done.run)
    plays = {row.run: frozenset(row.plays) for row in connection.execute(of_each)}
    return tuple(
        Passage(
            run=row.id, model=row.model, left_at=row.left_at, outcome=row.outcome, plays=plays.get(row.id, frozenset())
        )
        for row in rows
    )  # fmt: skip


def next_attempt(connection: Connection, *, plan: str, gate: str, model: str, items: str, artifact: str) -> int:
    """Number of the plan's look at the gate split, from 1; the same artifact keeps its number."""
    table = tables.attempts
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key(f"attempt {plan} {model} {items}"))))
    same = (table.c.plan == plan) & (table.c.model == model) & (table.c["items"] == items)
    known = connection.scalar(sa.select(table.c.attempt).where(same, table.c.artifact == artifact))
    if known is not None:
        return known
    number = (connection.scalar(sa.select(sa.func.max(table.c.attempt)).where(same)) or 0) + 1
    row = {"plan": plan, "gate": gate, "model": model, "items": items, "attempt": number, "artifact": artifact}
    connection.execute(sa.insert(table).values(row))
    return number


def attempts_of(connection: Connection, *, model: str, items: str) -> tuple[Attempt, ...]:
    """Every look at this gate split with this model, under whatever plan and gate, oldest first."""
    table = tables.attempts
    query = sa.select(table.c.plan, table.c.gate, table.c.attempt, table.c.artifact, table.c.at)
    query = query.where(table.c.model == model, table.c["items"] == items)
    return tuple(Attempt(**row._mapping) for row in connection.execute(query.order_by(table.c.at, table.c.plan)))
