"""Working files of plays that a kill must not cost: they stay until the play's result is recorded, and go then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from quantplay.digest import is_digest
from quantplay.records import Digest, Record


def remove_recorded(folder: Path, find: Callable[[Digest], Record | None]) -> None:
    """Remove every file and folder KEY or KEY.ANYTHING in `folder` whose key has a record; all else stays."""
    if not folder.is_dir():
        return
    recorded: dict[str, bool] = {}
    for path in sorted(folder.iterdir()):
        key = path.name.partition(".")[0]
        if not is_digest(key):
            continue
        if key not in recorded:
            recorded[key] = find(key) is not None
        if recorded[key]:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
