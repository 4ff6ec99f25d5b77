"""A journal of finished measurements: one JSON line each, on the disk before the next one starts.

A line counts only under the key of the very scan it belongs to, so a journal of another model, other text or other settings is
simply not used. A line cut short by a kill is not used either.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from quantplay.engines.whole_file import flush, unwritable


class Journal:
    """Finished measurements of one scan in `path`; None keeps them in memory only."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.path, self.key = path, key
        self.found: dict[str, dict[str, Any]] = {}
        if path is None or not path.exists():
            return
        for line in path.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
                if entry["key"] == key:
                    self.found[str(entry["unit"])] = dict(entry["body"])
            except (ValueError, KeyError, TypeError):
                continue

    def get(self, unit: str) -> dict[str, Any] | None:
        return self.found.get(unit)

    def put(self, unit: str, body: dict[str, Any]) -> None:
        """Raises InputError or OutOfSpace where the file can't be written."""
        self.found[unit] = body
        if self.path is None:
            return
        line = json.dumps({"key": self.key, "unit": unit, "body": body}, allow_nan=False)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            with self.path.open("ab") as file:
                file.write(f"\n{line}\n".encode())  # starts on a line of its own whatever was cut short before it
                file.flush()
                os.fsync(file.fileno())
            if new:
                flush(self.path.parent)
        except OSError as error:
            raise unwritable(self.path, error) from error
