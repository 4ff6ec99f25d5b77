"""Pinning files: every one with its size and digest, and one digest over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from quantplay.digest import digest_of_file
from quantplay.errors import Fault
from quantplay.evalset.jsonl import printable, refuse_faults
from quantplay.records import FileEntry, InputKind, Manifest


def manifest_of_files(kind: InputKind, files: Mapping[str, Path], source: str, revision: str | None = None) -> Manifest:
    """Manifest of `files` (path inside the set, `/` as separator -> file). Raises InputError with every unreadable one."""
    faults: list[Fault] = []
    entries: list[FileEntry] = []
    for name, path in sorted(files.items()):
        try:
            if not path.is_file():
                faults.append(Fault(where=printable(str(path)), what="there is no such file"))
                continue
            entries.append(FileEntry(path=name, size_bytes=path.stat().st_size, sha256=digest_of_file(path)))
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            faults.append(Fault(where=printable(str(path)), what=f"can't be read: {error}"))
    refuse_faults(f"the {kind} set", faults)
    return Manifest.of(kind, source, tuple(entries), revision)
