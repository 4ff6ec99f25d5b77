"""Names for locked packages, such as `support-desk/production`: moved with a reason, and everything they ever named is kept.

Migration 0008 holds the rules. A name has a slash, so that it is never taken for the first characters of a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.errors import InputError
from quantplay.records import Digest
from quantplay.store import events, tables

SET = "alias.set"  # kind of event
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)+")
LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Alias:
    """What a name stood for from `at` until its next version."""

    name: str
    version: int  # 1, 2, 3 ...
    package: Digest
    actor: str
    reason: str
    at: datetime


def point(connection: Connection, name: str, package: Digest, *, actor: str, reason: str) -> Alias:
    """Let `name` stand for a locked package from now on. Where it does already, nothing is written.

    Raises InputError for a name that can be none, an empty reason, a package that no run locked.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise InputError(
            "this can't be the name of a package", value=name,
            allowed="words of a-z, 0-9, _, . and - with a slash between them, such as support-desk/production",
        )  # fmt: skip
    if not reason.strip():
        raise InputError("naming a package needs a reason", value=name, fix="add --reason TEXT; it is kept with it")
    now = newest(connection, name)
    if now is not None and now.package == package:
        return now
    table = tables.aliases
    row = {"name": name, "version": 0, "package": package, "actor": actor, "reason": reason.strip()}
    made = Alias(**connection.execute(sa.insert(table).values(row).returning(*table.c)).one()._mapping)
    body = {"package": package, "version": made.version, "reason": made.reason}
    events.append(connection, actor, SET, name, body | {"before": now.package if now is not None else None})
    return made


def newest(connection: Connection, name: str) -> Alias | None:
    return next(iter(history(connection, name=name, limit=1)), None)


def history(
    connection: Connection, *, name: str | None = None, package: Digest | None = None, limit: int | None = None
) -> tuple[Alias, ...]:
    """What names stood for, newest first: all of them, one name's, or those that a package ever had."""
    table = tables.aliases
    query = sa.select(table).order_by(table.c.at.desc(), table.c.version.desc()).limit(limit)
    if name is not None:
        query = query.where(table.c.name == name)
    if package is not None:
        query = query.where(table.c.package == package)
    return tuple(Alias(**row._mapping) for row in connection.execute(query))
