"""Write a backup: tables, pinned artifacts and packages of one moment, there whole or not at all.

One snapshot of the database is digested, dumped and says what is pinned. Nothing pinned is ever deleted, so that the files can
be copied after it. No settings and no keys are read: owners' file, gateway keys and SSH keys are not in a backup.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay import __version__
from quantplay.digest import digest_of_file
from quantplay.engines.scratch import claimed_scratch
from quantplay.engines.tarball import files_below
from quantplay.engines.whole_file import flush, unwritable
from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.records import FileEntry
from quantplay.store import connect, events, tables
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.backup_folder import (
    BACKUPS,
    DUMP,
    RECORD,
    Backup,
    BackupRecord,
    PackageFiles,
    copy_file,
    file_store,
    name_of,
)
from quantplay.store.dump import Server, dump
from quantplay.store.registry import Store
from quantplay.store.table_digests import table_digests

WRITTEN = "backup.written"  # kind of event
PARTIAL = "partial"  # folder of what is being written
Say = Callable[[str], None]


def write_backup(store: Store, server: Server, folder: Path, *, actor: str, say: Say = lambda text: None) -> Backup:
    """Add a backup of `store`, whose database `server` runs, to `folder`.

    Raises IntegrityError where the event chain is broken or something pinned is missing or damaged, OutOfSpace, InputError where
    the folder can't be written. Nothing that looks whole is left behind then, and not after a kill either.
    """
    folder = folder.absolute()
    try:
        (folder / BACKUPS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        with claimed_scratch(folder / PARTIAL) as scratch:
            record = _written(store, server, folder, scratch, actor, say)
            place = scratch / "backup"
            (place / RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
            for path in (place / RECORD, place):
                flush(path)
            final = folder / BACKUPS / name_of(record)
            try:
                place.rename(final)
            except OSError:
                if not (final / RECORD).is_file():  # else another process wrote the very same in this second
                    raise
            flush(final.parent)
    except OSError as error:
        raise unwritable(folder, error) from error
    store.append_event(actor, WRITTEN, final.name, {"events": record.events, "record": record.digest()})
    return Backup(name=final.name, folder=final, record=record)


def _written(store: Store, server: Server, folder: Path, scratch: Path, actor: str, say: Say) -> BackupRecord:
    """Everything but the record, which is returned."""
    place = scratch / "backup"
    place.mkdir()
    with connect.translated(store.engine.url), store.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            snapshot = str(connection.scalar(sa.text("SELECT pg_export_snapshot()")))
            say("reading the tables")
            chain = events.read(connection)
            if problems := events.problems(chain):
                raise IntegrityError(
                    "the event chain is broken: this database is not what was recorded", value="; ".join(problems),
                    fix="restore an earlier backup, or find out who changed it; `pg_dump` copies it as it is",
                )  # fmt: skip
            held = table_digests(connection)
            pinned, packages = _pinned(connection), _packages(connection)
            revision = connection.scalar(sa.text(f"SELECT version_num FROM {tables.SCHEMA}.alembic_version"))  # noqa: S608
            say("writing the tables")
            dump(server, snapshot, place / DUMP)
    kept = file_store(folder)
    files = _copied(store.artifacts, kept, pinned, scratch, say)
    found = tuple(_package(key, Path(path), kept) for key, path in packages if Path(path).is_dir())
    return BackupRecord(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=actor,
        quantplay=__version__,
        postgresql=server.major,
        database=store.database_id,
        tables=str(revision),
        rows=held,
        events=len(chain),
        last_event=chain[-1].digest if chain else None,
        dump=FileEntry(path=DUMP, size_bytes=(place / DUMP).stat().st_size, sha256=digest_of_file(place / DUMP)),
        files=files,
        packages=found,
        packages_elsewhere=tuple(path for _, path in packages if not Path(path).is_dir()),
    )


def _pinned(connection: Connection) -> dict[str, str]:
    """Digest -> first reason of everything that is pinned."""
    table = tables.pins
    query = (
        sa.select(table.c.sha256, sa.func.min(table.c.reason).label("reason"))
        .group_by(table.c.sha256)
        .order_by(table.c.sha256)
    )
    return {row.sha256: row.reason for row in connection.execute(query)}


def _packages(connection: Connection) -> Sequence[tuple[str, str]]:
    """Key and folder of every package."""
    table = tables.packages
    query = sa.select(table.c.key, table.c.path).order_by(table.c.key)
    return [(row.key, row.path) for row in connection.execute(query)]


def _copied(
    source: ArtifactStore, target: ArtifactStore, pinned: dict[str, str], scratch: Path, say: Say
) -> tuple[FileEntry, ...]:
    missing = [Fault(where=reason, what="is not in the artifact store", value=sha256) for sha256, reason in pinned.items() if not source.exists(sha256)]  # fmt: skip
    if missing:
        raise IntegrityError(
            f"{len(missing)} pinned files are missing from the artifact store, so that there is nothing whole to back up",
            faults=missing, fix="restore them from an earlier backup, or from artifact/ and sources/ of the package",
        )  # fmt: skip
    found = []
    for number, (sha256, reason) in enumerate(pinned.items(), start=1):
        if copy_file(source, target, sha256, scratch):
            say(f"copied {number} of {len(pinned)} pinned files")
        found.append(FileEntry(path=reason, size_bytes=target.size(sha256) or 0, sha256=sha256))
    return tuple(found)


def _package(key: str, folder: Path, target: ArtifactStore) -> PackageFiles:
    """The files of a package's folder, kept as they are; `quantplay verify` judges them."""
    files = []
    for name, path in sorted(files_below(folder).items()):
        stored = target.put_file(path)
        files.append(FileEntry(path=name, size_bytes=stored.size_bytes, sha256=stored.sha256))
    archive = folder.with_name(f"{folder.name}.tar").is_file()
    return PackageFiles(key=key, path=str(folder), files=tuple(files), archive=archive)


def require_outside(folder: Path, home: Path) -> None:
    """Raise InputError for a folder inside what it backs up: it would be lost with it."""
    inside, top = Path(os.path.realpath(folder)), Path(os.path.realpath(home))
    if inside == top or top in inside.parents:
        raise InputError(
            "a backup inside quantplay's home is lost with it", value=folder, allowed=f"a folder outside {home}, best on another disk",
        )  # fmt: skip
