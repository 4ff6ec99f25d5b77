"""`quantplay restore FOLDER`: the newest backup of the folder, or a named one, into an empty database."""

from __future__ import annotations

import getpass
import json as json_library
from pathlib import Path


def command(folder: Path, backup: str | None = None, json: bool = False) -> int:
    from quantplay.cli.backup import body_of, require_embedded
    from quantplay.cli.console import errors_console
    from quantplay.settings import settings
    from quantplay.store.backup_folder import backups_in, read_backup
    from quantplay.store.restoring import restore_backup

    here = settings()
    require_embedded(here)
    folder = folder.absolute()
    chosen = read_backup(folder, backup) if backup is not None else backups_in(folder)[-1]
    restore_backup(chosen, here, actor=getpass.getuser(), say=errors_console().print)
    moved = [one.path for one in chosen.record.packages if Path(one.path).parent != here.home / "packages"]
    if json:
        print(
            json_library.dumps(
                {"restored": body_of(chosen), "home": str(here.home), "recorded_elsewhere": moved}, indent=2
            )
        )
    else:
        for path in moved:
            errors_console().print(
                f"the registry looks for a package at {path}; it lies in {here.home / 'packages'} now", markup=False
            )
        rows = sum(table.rows for table in chosen.record.rows.values())
        print(
            f"restored {chosen.name} into {here.home}: {rows} rows, {chosen.record.events} events, "
            f"{len(chosen.record.files)} pinned files, {len(chosen.record.packages)} packages, all as they were"
        )
    return 0
