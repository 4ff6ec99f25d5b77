"""What went wrong with a locked package: opened by what found it, closed by a person who says what was learned and where it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ARRAY, insert

from quantplay.errors import InputError
from quantplay.records import Digest
from quantplay.store import events, tables

OPENED, CLOSED = "incident.opened", "incident.closed"  # kinds of events
FoldedInto = Literal["standard", "calibration", "evaluation_item", "documentation"]
FOLDED_INTO: tuple[FoldedInto, ...] = get_args(FoldedInto)
MOST = 2000  # characters of a text


@dataclass(frozen=True, kw_only=True)
class Incident:
    """At most one of a kind is open for a package: what is found again while it is open belongs to it."""

    id: UUID
    kind: str  # regression | live rollback
    package: Digest  # key, or the manifest that a release names
    revalidation: Digest | None  # that found it
    what: str  # a sentence
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    resolution: str | None  # what ended it
    lesson: str | None  # None: open, or closed by an earlier version
    folded_into: FoldedInto | None
    folded_where: str | None

    @property
    def learned(self) -> bool:
        """Closed with a lesson."""
        return self.closed_at is not None and self.lesson is not None


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a surprise taught, and where it is kept from happening again."""

    text: str
    folded_into: FoldedInto
    where: str  # version of a standard, digest of a set, id of an item, a page, a commit


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A lesson with what it was learned from."""

    incident: Incident
    package: Digest  # key where it is known
    name: str  # of the plan; empty where the package is not on record
    source: str  # of the model, as the plan wrote it
    base: Digest | None  # content of the full-precision model


def lesson_of(text: str | None, folded_into: str | None, where: str | None) -> Lesson:
    """Raises InputError where a part is missing or says nothing."""
    told, reference = (text or "").strip(), (where or "").strip()
    fix = "--lesson TEXT --folded-into standard|calibration|evaluation_item|documentation --where REFERENCE (docs/incidents.md)"
    if folded_into not in FOLDED_INTO:
        raise InputError(
            "an incident closes only with a lesson and where it was folded in", value=folded_into or "nowhere",
            allowed=", ".join(FOLDED_INTO), fix=fix,
        )  # fmt: skip
    for what, said in (
        ("what was learned", told),
        (f"where in the {folded_into.replace('_', ' ')} that was folded in", reference),
    ):
        if not 0 < len(said) <= MOST:
            raise InputError(
                f"closing an incident takes {what}", value=f"{len(said)} characters", allowed=f"1 to {MOST}", fix=fix
            )
    return Lesson(text=told, folded_into=folded_into, where=reference)


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


def close(connection: Connection, prefix: str, by: str, resolution: str, lesson: Lesson) -> Incident:
    """Close the one open incident whose id starts with `prefix`. Raises InputError where there is none, or several.

    One that an earlier version closed without a lesson gains it; who closed it and when stays.
    """
    table = tables.incidents
    starts = sa.func.starts_with(sa.cast(table.c.id, sa.Text), prefix.lower())
    found = connection.scalars(sa.select(table.c.id).where(starts, table.c.lesson.is_(None)).with_for_update()).all()
    if len(found) != 1:
        raise InputError(
            "no open incident has this id" if not found else "several open incidents have an id that starts like this",
            value=prefix,
            fix="`quantplay registry incidents` lists them; give more characters of the id",
        )
    told = {"lesson": lesson.text, "folded_into": lesson.folded_into, "folded_where": lesson.where}
    change = sa.update(table).where(table.c.id == found[0])
    ended = {"closed_at": tables.NOW, "closed_by": by, "resolution": resolution}
    kept = {name: sa.func.coalesce(table.c[name], value) for name, value in ended.items()}
    connection.execute(change.values(**kept, **told))
    events.append(connection, by, CLOSED, str(found[0]), {"resolution": resolution, **told})
    return Incident(**connection.execute(sa.select(table).where(table.c.id == found[0])).one()._mapping)


def listed(connection: Connection, *, open_only: bool = False) -> tuple[Incident, ...]:
    """Open ones first, then newest first."""
    table = tables.incidents
    query = sa.select(table).order_by(table.c.closed_at.is_not(None), table.c.opened_at.desc(), table.c.id)
    if open_only:
        query = query.where(table.c.closed_at.is_(None))
    return tuple(Incident(**row._mapping) for row in connection.execute(query))


LESSONS = """
SELECT i.id, i.kind, i.package, i.revalidation, i.what, i.opened_at, i.closed_at, i.closed_by, i.resolution, i.lesson, i.folded_into,
    i.folded_where, coalesce(p.key, i.package) AS key, coalesce(pl.name, '') AS name, coalesce(pl.model, '') AS source, r.model AS base
FROM quantplay.incidents i
LEFT JOIN LATERAL (
    SELECT key, artifact FROM quantplay.packages WHERE i.package IN (key, manifest) ORDER BY created_at, key LIMIT 1
) p ON true
LEFT JOIN LATERAL (SELECT plan FROM quantplay.runs WHERE package = p.key ORDER BY started_at, id LIMIT 1) run ON true
LEFT JOIN quantplay.plans pl ON pl.key = run.plan
LEFT JOIN quantplay.artifacts a ON a.key = p.artifact
LEFT JOIN quantplay.recipes r ON r.key = a.recipe
WHERE i.lesson IS NOT NULL
    AND (:kind = '' OR i.kind = :kind) AND (:folded_into = '' OR i.folded_into = :folded_into)
    AND (:model = '' OR :model IN (pl.name, pl.model) OR (length(:model) >= 6 AND starts_with(coalesce(r.model, ''), lower(:model))))
    AND (cardinality(:about) = 0 OR pl.name = ANY(:about) OR r.model = ANY(:about))
    AND (:text = '' OR strpos(lower(concat_ws(' ', i.lesson, i.what, i.resolution, i.folded_where, i.kind, pl.name, pl.model)), lower(:text)) > 0)
ORDER BY i.closed_at DESC, i.id
"""


def lessons(
    connection: Connection, *, text: str = "", kind: str = "", model: str = "", folded_into: str = "", about: Sequence[str] = ()
) -> tuple[Learned, ...]:  # fmt: skip
    """Newest first; what is empty is not asked for.

    text: anywhere; kind: of the incident; model: a plan's name, a model's source, or how its digest starts; about: names of
    plans and whole digests of models, any of them.
    """
    asked = {"text": text, "kind": kind, "model": model, "folded_into": folded_into, "about": list(about)}
    query = sa.text(LESSONS).bindparams(sa.bindparam("about", type_=ARRAY(sa.Text)))
    return tuple(learned(dict(row)) for row in connection.execute(query, asked).mappings())


def learned(row: dict[str, Any]) -> Learned:
    about = {name: row.pop(name) for name in ("name", "source", "base")}
    return Learned(package=row.pop("key"), incident=Incident(**row), **about)
