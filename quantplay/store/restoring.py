"""Bring a backup back: into an empty database and nothing else, files first, so that rows that are there have their files.

The backup is read whole before anything is written; afterwards every table has to hold what it held, and the event chain to end
where it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from quantplay.digest import digest_of_file
from quantplay.engines.scratch import claimed_scratch
from quantplay.engines.tarball import files_below, write_tar
from quantplay.engines.whole_file import flush, require_space, unwritable
from quantplay.errors import Conflict, InputError, IntegrityError
from quantplay.settings import Settings
from quantplay.store import connect, embedded, events
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.backup_folder import (
    DUMP,
    Backup,
    BackupRecord,
    PackageFiles,
    check_backup,
    copy_file,
    file_store,
)
from quantplay.store.dump import Server, embedded_server, restore
from quantplay.store.locks import lock_key
from quantplay.store.registry import open_store
from quantplay.store.schema import HEAD
from quantplay.store.table_digests import is_empty, table_digests
from quantplay.store.tables import SCHEMA

RESTORED = "backup.restored"  # kind of event
RESTORING = lock_key("restore")
Say = Callable[[str], None]


def restore_backup(backup: Backup, settings: Settings, *, actor: str, say: Say = lambda text: None) -> None:
    """Tables into the embedded database of `settings`, files into its artifact store, packages below its home.

    Raises InputError where anything was ever recorded there, Conflict where another restore is under way, IntegrityError where the
    backup is damaged, OutOfSpace. The database is then as empty as it was.
    """
    url = embedded.start_embedded(settings.home, say)
    server, engine = embedded_server(settings.home, url), connect.make_engine(url)
    try:
        with connect.translated(url), engine.connect() as session:
            held = session.execution_options(isolation_level="AUTOCOMMIT")
            if not held.scalar(sa.select(sa.func.pg_try_advisory_lock(RESTORING))):
                raise Conflict("another restore into this database is under way", fix="wait until it has ended")
            require_fit(backup.record, server)
            require_empty(engine, settings.home)
            say("reading the backup")
            check_backup(backup)
            bring_files(backup, settings, say)
            say("bringing the tables back")
            drop_empty_tables(engine, settings.home)
            restore(server, backup.folder / DUMP)
            require_equal(engine, backup.record)
    finally:
        engine.dispose()
    with open_store(settings, say) as store:  # brings an older version's tables up to date
        body = {"events": backup.record.events, "record": backup.record.digest(), "made_at": backup.record.made_at}
        store.append_event(actor, RESTORED, backup.name, body)


def require_fit(record: BackupRecord, server: Server) -> None:
    if record.tables > HEAD:
        raise InputError(
            "the backup was made by a newer quantplay", value=f"tables {record.tables}", allowed=f"tables up to {HEAD}",
            fix="upgrade this installation: pip install --upgrade quantplay",
        )  # fmt: skip
    if record.postgresql > server.major:
        raise InputError(
            "the backup was made by a newer PostgreSQL", value=record.postgresql, allowed=f"at most {server.major}",
            fix="restore into a new QUANTPLAY_HOME, which gets the newest version",
        )  # fmt: skip


def require_empty(engine: Engine, home: Path) -> None:
    with engine.connect() as connection:
        _refuse_records(connection, home)


def _refuse_records(connection: Connection, home: Path) -> None:
    if not is_empty(connection):
        raise InputError(
            "a backup is restored into an empty database only, and this one holds records", value=f"{home}/postgres",
            fix="set QUANTPLAY_HOME to a new folder; nothing was changed here",
        )  # fmt: skip


def drop_empty_tables(engine: Engine, home: Path) -> None:
    """Make room for the backup's own tables. What is recorded meanwhile is waited for, and then refused."""
    with engine.begin() as connection:
        there = connection.scalars(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = :schema"), {"schema": SCHEMA}
        ).all()
        if there:
            names = ", ".join(f'{SCHEMA}."{name}"' for name in sorted(there))
            connection.execute(sa.text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
        _refuse_records(connection, home)
        connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))


def require_equal(engine: Engine, record: BackupRecord) -> None:
    """Raise IntegrityError, and leave the database empty, where it does not hold what the backup noted."""
    with engine.connect() as connection, connection.begin():
        found, chain = table_digests(connection), events.read(connection)
    faults = [
        f"{name}: {now.rows if (now := found.get(name)) else 'no'} rows that are not the {then.rows} noted"
        for name, then in record.rows.items()
        if found.get(name) != then
    ]
    faults += [f"{name}: a table that was not there" for name in found.keys() - record.rows.keys()]
    faults += events.problems(chain, {record.events: record.last_event} if record.last_event else None)
    if faults:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
        raise IntegrityError(
            "the restored tables are not what was backed up; the database is empty again", value="; ".join(faults),
            fix="use another backup, and send us this message",
        )  # fmt: skip


# --- files ---------------------------------------------------------------------------------------------------------


def bring_files(backup: Backup, settings: Settings, say: Say) -> None:
    """Pinned files into the artifact store, packages into `packages` below the home. What is there already stays."""
    source, target = file_store(backup.folder.parent.parent), ArtifactStore(settings.artifacts_url)
    packages = settings.home / "packages"
    require_space(packages, 2 * sum(one.size_bytes for package in backup.record.packages for one in package.files))
    try:
        with claimed_scratch(settings.home / "scratch") as scratch:
            for number, entry in enumerate(backup.record.files, start=1):
                if copy_file(source, target, entry.sha256, scratch):
                    say(f"copied {number} of {len(backup.record.files)} pinned files")
            for package in backup.record.packages:
                bring_package(package, source, packages / Path(package.path).name, scratch)
    except OSError as error:
        raise unwritable(settings.home, error) from error


def bring_package(package: PackageFiles, source: ArtifactStore, target: Path, scratch: Path) -> None:
    """The folder of a package and its .tar, each there whole or not at all. Raises Conflict where another one has its place."""
    archive = target.with_name(f"{target.name}.tar")
    if not target.exists():
        making = scratch / "package"
        for file in package.files:
            if not (making / file.path).resolve().is_relative_to(making.resolve()):
                raise IntegrityError("a backup names a file that would leave its folder", value=file.path)
            source.get(file.sha256, making / file.path)
            flush(making / file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        making.rename(target)
    elif {name: digest_of_file(path) for name, path in files_below(target).items()} != {
        file.path: file.sha256 for file in package.files
    }:
        raise Conflict(
            "another package lies where one of the backup belongs", value=target, fix="move it away, then restore"
        )
    if package.archive and not archive.exists():
        write_tar(target, scratch / "tar", target.name)
        flush(scratch / "tar")
        (scratch / "tar").replace(archive)
    flush(target.parent)
