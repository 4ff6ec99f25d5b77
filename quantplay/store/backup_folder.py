"""A folder of backups: one folder a backup, and the files of all of them by their SHA-256, so that none is kept twice.

FOLDER/backups/TIME-DIGEST/backup.json      what it is; DIGEST are the first characters of its own digest
FOLDER/backups/TIME-DIGEST/database.dump    the tables, as pg_dump writes them
FOLDER/sha256/ab/cd/abcd...                 files, as in the artifact store
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from quantplay.digest import digest_of_file
from quantplay.errors import InputError, IntegrityError
from quantplay.records import Digest, FileEntry, Record
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.table_digests import TableDigest

BACKUPS, RECORD, DUMP = "backups", "backup.json", "database.dump"
NAMED_BY = 16  # characters of the record's digest in a backup's name


class PackageFiles(Record):
    """The folder of a locked package."""

    key: Digest
    path: str  # as the registry has it
    files: tuple[FileEntry, ...]
    archive: bool  # whether its .tar lay beside it


class BackupRecord(Record):
    """What a backup holds, and what it has to come out as."""

    backup: int = 1  # version of this form
    made_at: str  # ISO 8601, UTC
    made_by: str
    quantplay: str
    postgresql: int  # major version
    database: str  # identity of the database
    tables: str  # version of the tables
    rows: dict[str, TableDigest]
    events: int
    last_event: Digest | None  # digest of the newest one
    dump: FileEntry
    files: tuple[FileEntry, ...]  # pinned artifacts; `path` is the first reason
    packages: tuple[PackageFiles, ...]
    packages_elsewhere: tuple[str, ...]  # folders of packages that are not on this machine

    @property
    def sizes(self) -> dict[Digest, int]:
        """Every file it needs: digest -> bytes."""
        parts = (*self.files, *(file for package in self.packages for file in package.files))
        return {one.sha256: one.size_bytes for one in parts}


@dataclass(frozen=True, kw_only=True)
class Backup:
    """One backup in its folder."""

    name: str
    folder: Path  # its own
    record: BackupRecord

    @property
    def size_bytes(self) -> int:
        return self.record.dump.size_bytes + sum(self.record.sizes.values())


def name_of(record: BackupRecord) -> str:
    stamp = record.made_at[:19].replace("-", "").replace(":", "")
    return f"{stamp}Z-{record.digest()[:NAMED_BY]}"


def file_store(folder: Path) -> ArtifactStore:
    """The files of all backups in `folder`."""
    return ArtifactStore(str(folder))


def backups_in(folder: Path) -> tuple[Backup, ...]:
    """Every backup of `folder`, oldest first. Raises InputError where there is none, IntegrityError for one that was changed."""
    names = sorted(path.parent.name for path in (folder / BACKUPS).glob(f"*/{RECORD}"))
    if not names:
        raise InputError(
            "there is no backup in this folder",
            value=folder,
            fix="`quantplay backup FOLDER` writes one, whole or not at all",
        )
    return tuple(read_backup(folder, name) for name in names)


def read_backup(folder: Path, name: str) -> Backup:
    """The backup `name` of `folder`. Raises InputError where there is none, IntegrityError where its record was changed."""
    place = folder / BACKUPS / name
    if not name or place.parent != folder / BACKUPS or not (place / RECORD).is_file():
        raise InputError("there is no such backup", value=name, fix=f"`quantplay backup {folder} --list` lists them")
    try:
        body = json.loads((place / RECORD).read_text(encoding="utf-8"))
        if isinstance(body, dict) and body.get("backup") != 1:
            raise InputError("this backup was made by a newer quantplay", value=place, fix="upgrade this installation")
        record = BackupRecord.model_validate(body)
    except (OSError, ValueError) as error:
        raise IntegrityError(
            "a backup's record can't be read", value=place / RECORD, fix="use another backup"
        ) from error
    if name_of(record) != name:
        raise IntegrityError(
            "a backup's record was changed, or its folder renamed",
            value=name,
            allowed=name_of(record),
            fix="use another backup",
        )
    return Backup(name=name, folder=place, record=record)


def check_backup(backup: Backup) -> None:
    """Read every byte of a backup again. Raises IntegrityError with everything that is missing or damaged."""
    files, faults = file_store(backup.folder.parent.parent), []
    for sha256 in sorted(backup.record.sizes):
        try:
            files.verify(sha256)
        except IntegrityError as error:
            faults.append(f"{error.what}: {error.value}")
    dump, wanted = backup.folder / DUMP, backup.record.dump
    if not dump.is_file():
        faults.append(f"{DUMP} is missing")
    elif dump.stat().st_size != wanted.size_bytes or digest_of_file(dump) != wanted.sha256:
        faults.append(f"{DUMP} is damaged")
    if faults:
        raise IntegrityError(
            f"the backup {backup.name} is not whole: {len(faults)} of its files are missing or damaged", value="; ".join(faults),
            fix="write a new one, which replaces damaged files; or use another one of `quantplay backup FOLDER --list`",
        )  # fmt: skip


def copy_file(source: ArtifactStore, target: ArtifactStore, sha256: Digest, scratch: Path) -> bool:
    """Have the file `sha256` of `source` in `target`, verified there; whether it had to be copied.

    A damaged copy is replaced. Raises IntegrityError where `source` does not have the file, or has another one.
    """
    if target.exists(sha256):
        try:
            target.verify(sha256)
        except IntegrityError:
            pass
        else:
            return False
    local = source.local_path(sha256)
    if local is None or not local.exists():  # elsewhere, or missing, which `get` says
        local = source.get(sha256, scratch / sha256)
    try:
        if target.put_file(local).sha256 != sha256:
            source.verify(sha256)  # says what is damaged, and what to do
    finally:
        if local.parent == scratch:
            local.unlink()
    return True
