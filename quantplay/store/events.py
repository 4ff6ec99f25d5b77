"""Who did what when: an append-only chain in which every event carries the digest of the one before.

The database enforces it (migrations/): it refuses changes, forks and wrong digests. `problems` recomputes the chain with
nothing but Python, also against an event remembered elsewhere, such as in a package: that shows a cut-off tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.digest import canonical_json, digest_of_bytes
from quantplay.errors import InputError
from quantplay.store import locks, tables

FIRST = "0" * 64  # what the first event names as the digest before it


@dataclass(frozen=True, kw_only=True)
class Event:
    """One link of the chain."""

    seq: int  # 1, 2, 3 ...
    at: datetime  # UTC, from the database's clock
    actor: str  # who: user@host, or the program
    kind: str  # what: plan stored, gate decided, package locked ...
    subject: str  # about what: a digest, a run
    canonical: str  # canonical JSON of the body, exactly as digested
    previous: str
    digest: str

    @property
    def body(self) -> dict[str, Any]:
        import json

        return json.loads(self.canonical)


def digest_text(event: Event) -> str:
    """What is digested: eight lines, of which none but the last can hold a line break, and canonical JSON holds none."""
    at = event.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    parts = ("quantplay event 1", str(event.seq), at, event.actor, event.kind, event.subject)
    return "\n".join((*parts, event.previous, event.canonical))


def digest_of_event(event: Event) -> str:
    return digest_of_bytes(digest_text(event).encode())


def append(connection: Connection, actor: str, kind: str, subject: str, body: Mapping[str, Any]) -> Event:
    """Add an event; others wait until this transaction ends."""
    for name, value in (("actor", actor), ("kind", kind), ("subject", subject)):
        if "\n" in value or "\r" in value or "\0" in value:
            raise InputError(f"an event's {name} must be one line", value=value)
    table = tables.events
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(locks.EVENTS)))
    last = connection.execute(sa.select(table.c.seq, table.c.digest).order_by(table.c.seq.desc()).limit(1)).first()
    now = connection.scalar(sa.select(sa.func.clock_timestamp()))
    assert isinstance(now, datetime)
    values: dict[str, Any] = {
        "seq": 1 if last is None else last.seq + 1,
        "at": now,
        "actor": actor,
        "kind": kind,
        "subject": subject,
        "canonical": canonical_json(dict(body)).decode(),
        "previous": FIRST if last is None else last.digest,
    }
    event = Event(**values, digest=digest_of_event(Event(**values, digest="")))
    connection.execute(sa.insert(table).values(**values, digest=event.digest))
    return event


def read(
    connection: Connection,
    *,
    kind: str | None = None,
    subject: str | None = None,
    subjects: Sequence[str] | None = None,
) -> tuple[Event, ...]:
    """Events in their order, all or those of a kind, a subject or any of several."""
    table = tables.events
    query = sa.select(
        table.c.seq, table.c.at, table.c.actor, table.c.kind, table.c.subject, table.c.canonical, table.c.previous,
        table.c.digest,
    ).order_by(table.c.seq)  # fmt: skip
    if kind is not None:
        query = query.where(table.c.kind == kind)
    if subject is not None:
        query = query.where(table.c.subject == subject)
    if subjects is not None:
        query = query.where(table.c.subject.in_(subjects))
    return tuple(Event(**row._mapping) for row in connection.execute(query))


def problems(chain: Iterable[Event], anchors: Mapping[int, str] | None = None) -> tuple[str, ...]:
    """Everything wrong with a whole chain; `anchors` are digests by number that were remembered elsewhere."""
    found: list[str] = []
    previous, expected, seen = FIRST, 1, dict[int, str]()
    for event in chain:
        if event.seq != expected:
            found.append(f"event {event.seq}: {expected} was expected: events are missing")
        if event.previous != previous:
            found.append(
                f"event {event.seq}: names {event.previous[:12]} as the digest before it, which is {previous[:12]}"
            )
        actual = digest_of_event(event)
        if event.digest != actual:
            found.append(f"event {event.seq}: digest {event.digest[:12]} is not that of its content, {actual[:12]}")
        previous, expected = event.digest, event.seq + 1
        seen[event.seq] = event.digest
    for seq, digest in sorted((anchors or {}).items()):
        if seen.get(seq) != digest:
            what = f"has digest {seen[seq][:12]}" if seq in seen else "is missing"
            found.append(f"event {seq}: {what}, and was remembered with digest {digest[:12]}")
    return tuple(found)
