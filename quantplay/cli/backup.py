"""`quantplay backup FOLDER`: add a backup to the folder; --list and --check look at what is there."""

from __future__ import annotations

import getpass
import json as json_library
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.errors import InputError

if TYPE_CHECKING:
    from quantplay.settings import Settings
    from quantplay.store.backup_folder import Backup


def command(folder: Path, list_all: bool = False, check: bool = False, json: bool = False) -> int:
    from quantplay.cli.console import errors_console
    from quantplay.settings import settings
    from quantplay.store.backup_folder import backups_in, check_backup

    say = errors_console().print
    if list_all or check:
        found = backups_in(folder.absolute())
        for backup in found if check else ():
            check_backup(backup)
            say(f"{backup.name}: every byte is as it was written")
    else:
        found = (written(folder, settings()),)
    if json:
        print(json_library.dumps({"backups": [body_of(one) for one in found]}, indent=2))
    else:
        show(found)
    return 0


def written(folder: Path, here: Settings) -> Backup:
    from quantplay.cli.console import errors_console
    from quantplay.store.backup import require_outside, write_backup
    from quantplay.store.dump import embedded_server
    from quantplay.store.registry import open_store

    require_embedded(here)
    require_outside(folder, here.home)
    say = errors_console().print
    with open_store(here, say) as store:
        server = embedded_server(here.home, store.engine.url)
        return write_backup(store, server, folder, actor=getpass.getuser(), say=say)


def require_embedded(here: Settings) -> None:
    """Raise InputError where the product database is a server of the team's own."""
    if here.database_url is not None:
        raise InputError(
            "the product database is a server of your own, which its own tools back up", value="QUANTPLAY_DATABASE_URL is set",
            allowed="the embedded database", fix="docs/backup.md has the lines: pg_dump for the tables, a copy of the artifact store",
        )  # fmt: skip


def body_of(backup: Backup) -> dict[str, Any]:
    record = backup.record
    return {
        "name": backup.name, "folder": str(backup.folder), "made_at": record.made_at, "made_by": record.made_by,
        "quantplay": record.quantplay, "tables": record.tables, "postgresql": record.postgresql, "database": record.database,
        "rows": {name: one.rows for name, one in record.rows.items()}, "events": record.events, "last_event": record.last_event,
        "files": len(record.files), "packages": len(record.packages), "packages_elsewhere": list(record.packages_elsewhere),
        "size_bytes": backup.size_bytes,
    }  # fmt: skip


def show(found: tuple[Backup, ...]) -> None:
    from rich.text import Text

    from quantplay.cli.console import console, errors_console
    from quantplay.cli.render import mib, table_of

    rows = [
        [
            Text(one.name), one.record.made_by, str(sum(table.rows for table in one.record.rows.values())), str(one.record.events),
            str(len(one.record.files)), str(len(one.record.packages)), mib(one.size_bytes),
        ]
        for one in found
    ]  # fmt: skip
    columns = [
        ("backup", "text"), ("made by", "text"), ("rows", "right"), ("events", "right"), ("pinned files", "right"),
        ("packages", "right"), ("size", "right"),
    ]  # fmt: skip
    console().print(table_of("Backups", columns, rows))
    newest = found[-1]
    for path in newest.record.packages_elsewhere:
        errors_console().print(f"not in it: the package {path}, whose folder is not on this machine", markup=False)
    print(f"backup: {newest.folder}")
