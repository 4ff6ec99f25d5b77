"""The Store: artifacts that were quantized elsewhere, and whether a run has validated them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.errors import InputError
from quantplay.records import Digest, Import, Verdict
from quantplay.store import events, records, tables
from quantplay.store.database import Database
from quantplay.store.patience import patiently

IMPORTED = "artifact.imported"  # kind of event
LISTED = """
SELECT i.canonical, i.created_at, (
    SELECT p.key FROM quantplay.artifacts a JOIN quantplay.packages p ON p.artifact = a.key
    JOIN quantplay.runs r ON r.package = p.key AND r.outcome = 'locked'
    WHERE a.sha256 = i.key ORDER BY p.created_at DESC, p.key LIMIT 1
) AS package, (
    SELECT d.verdict FROM quantplay.evaluations e JOIN quantplay.decisions d ON d.evaluation = e.content
    WHERE e.artifact = i.key ORDER BY d.created_at DESC, d.key LIMIT 1
) AS verdict
FROM quantplay.imports i
WHERE starts_with(i.key, lower(:name)) OR i.body->>'name' = :name ORDER BY i.created_at DESC, i.key
"""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """An import today."""

    told: Import
    imported_at: datetime
    package: Digest | None  # the newest locked one that serves these very bytes; None: unvalidated
    verdict: Verdict | None  # of the newest gate that judged these bytes; None: no run measured them

    @property
    def key(self) -> Digest:
        return self.told.sha256

    @property
    def validated(self) -> bool:
        return self.package is not None

    @property
    def why(self) -> str:
        """A sentence on how it stands."""
        if self.package is not None:
            return f"Validated: package {self.package[:12]} serves these very bytes."
        if self.verdict is not None:
            return f"A run judged it {self.verdict}, and none has locked it."
        return "No run has measured it: what it is like is what its maker says."


class ImportRegistry(Database):
    """A file is imported once: its digest is the key."""

    @patiently
    def register_import(self, told: Import) -> tuple[Import, bool]:
        """Record it, pin its file and note the event, all or nothing; what is recorded for this file, and whether that is new.

        Raises InputError where the file is registered as made from another model.
        """
        with self._begin() as connection:
            there = records.put_or_get(connection, records.IMPORT, told.sha256, told)
            if there.base != told.base:
                raise InputError(
                    "this file is registered as made from another model", value=f"{told.base_source}: {told.base[:12]}",
                    allowed=f"{there.base_source}: {there.base[:12]}", fix=f"`quantplay registry show {told.sha256[:12]}` shows what is there",
                )  # fmt: skip
            new = there is told
            if new:
                connection.execute(
                    tables.pins.insert().values(sha256=told.sha256, reason=f"imported as {told.name}", run="")
                )
                body = {
                    "name": told.name,
                    "base": told.base,
                    "format": told.format,
                    "type": told.type,
                    "origin": told.origin,
                }
                events.append(connection, told.said_by, IMPORTED, told.sha256, body)
        return there, new

    @patiently
    def get_import(self, sha256: Digest) -> Import | None:
        with self._begin() as connection:
            return records.get(connection, records.IMPORT, sha256)

    @patiently
    def list_imports(self, name: str = "") -> tuple[Imported, ...]:
        """Newest first: all, or those of this name or whose digest starts so."""
        with self._begin() as connection:
            return tuple(listed(connection, name))

    def find_import(self, name: str) -> Imported | None:
        """The import of this name, or whose digest starts so. Raises InputError where there are several."""
        found = self.list_imports(name) if name else ()
        if len(found) > 1:
            raise InputError(
                "several imported artifacts are called so", value=name, allowed=", ".join(one.key[:12] for one in found),
                fix="give the first characters of one's digest",
            )  # fmt: skip
        return found[0] if found else None


def listed(connection: Connection, name: str = "") -> Iterator[Imported]:
    for row in connection.execute(sa.text(LISTED), {"name": name}):
        yield Imported(
            told=Import.model_validate_json(row.canonical),
            imported_at=row.created_at,
            package=row.package,
            verdict=row.verdict,
        )
