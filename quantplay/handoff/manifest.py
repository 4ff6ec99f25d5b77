"""manifest.json: every file of a package with its size and SHA-256. It leaves out itself and signatures/.

It carries a checksum over its own content and has one way to be written, so a byte that changed in it is told from a byte that
changed in a file it lists. Against somebody who computes it anew only a digest of the manifest kept elsewhere helps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from quantplay.digest import digest_of, digest_of_bytes, digest_of_file
from quantplay.errors import Fault
from quantplay.handoff.layout import MANIFEST, SCHEMA, SIGNATURES, json_bytes
from quantplay.records import Digest, FileEntry, Record

LARGEST_MANIFEST = 16 << 20
MISSING = "missing"
ADDED = "added: not listed in the manifest"
NOT_PLAIN = "not a plain file"
CHECKSUM = "checksum"  # digest of all the other keys
DAMAGED = "ask for the package again; the other files can be checked only against the manifest as it was"


class PackageManifest(Record):
    """What a package consists of. Its file's digest, kept outside the package, proves the whole package."""

    kind: Literal["quantplay package"] = "quantplay package"
    layout: int = Field(default=SCHEMA, ge=SCHEMA, le=SCHEMA)
    run: str
    files: tuple[FileEntry, ...]  # sorted by path

    def to_bytes(self) -> bytes:
        return json_bytes(self.body() | {CHECKSUM: self.digest()})

    def file_digest(self) -> Digest:
        """SHA-256 of manifest.json: the one number to keep outside."""
        return digest_of_bytes(self.to_bytes())

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def manifest_of(folder: Path, run: str) -> PackageManifest:
    """Digest every file below `folder` but the manifest and the signatures."""
    entries = (
        FileEntry(path=name, size_bytes=path.stat().st_size, sha256=digest_of_file(path))
        for name, path in sorted(visible_files(folder))
    )
    return PackageManifest(run=run, files=tuple(entries))


def visible_files(folder: Path) -> list[tuple[str, Path]]:
    """(path inside the package, file) of everything the manifest covers, hidden files included."""
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST and not name.startswith(f"{SIGNATURES}/") and (path.is_symlink() or not path.is_dir()):
            found.append((name, path))
    return found


def read_manifest(folder: Path) -> PackageManifest | Fault:
    """The manifest in `folder`, or what is wrong with it."""
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        return Fault(where=MANIFEST, what="there is no manifest", fix="name the package's folder or its .tar")
    if path.stat().st_size > LARGEST_MANIFEST:
        return Fault(where=MANIFEST, what="the manifest is too large", value=f"{path.stat().st_size} bytes")
    try:
        data = path.read_bytes()
        body: Any = json.loads(data)
        if not isinstance(body, dict):
            return Fault(where=MANIFEST, what="the manifest is no JSON object", fix=DAMAGED)
        if isinstance(body.get("layout"), int) and body["layout"] > SCHEMA:
            return Fault(
                where=MANIFEST,
                what="the package was written by a newer quantplay",
                value=f"layout {body['layout']}",
                allowed=f"layout {SCHEMA}",
                fix="install a newer quantplay",
            )
        checksum = body.pop(CHECKSUM, None)
        if checksum != (wanted := digest_of(body)):
            return Fault(
                where=MANIFEST, what="changed: it does not fit its own checksum",
                value=str(checksum), allowed=wanted, fix=DAMAGED,
            )  # fmt: skip
        manifest = PackageManifest.model_validate(body)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        what = "the manifest has the wrong form" if isinstance(error, ValidationError) else "the manifest is no JSON"
        return Fault(where=MANIFEST, what=what, value=str(error), fix=DAMAGED)
    if manifest.to_bytes() != data:
        return Fault(where=MANIFEST, what="changed: not written the way quantplay writes it", fix=DAMAGED)
    return manifest


def compare(folder: Path, manifest: PackageManifest) -> list[Fault]:
    """Every difference between `manifest` and the files: changed, missing, added, listed twice, or not a plain file."""
    faults: list[Fault] = []
    files = dict(visible_files(folder))
    listed: set[str] = set()
    for entry in manifest.files:
        if entry.path in listed:
            faults.append(Fault(where=entry.path, what="listed twice in the manifest"))
        listed.add(entry.path)
        path = files.get(entry.path)
        if path is None:
            faults.append(Fault(where=entry.path, what=MISSING))
        elif path.is_symlink() or not path.is_file():
            faults.append(Fault(where=entry.path, what=NOT_PLAIN, fix="copy the package again, without links"))
        else:
            faults += changed(path, entry)
    for name in sorted(files.keys() - listed):
        plain = files[name].is_file() and not files[name].is_symlink()
        what = ADDED if plain else f"{ADDED}, and {NOT_PLAIN}"
        faults.append(Fault(where=name, what=what, fix="delete it"))
    return faults


def changed(path: Path, entry: FileEntry) -> list[Fault]:
    """What tells the file from its line in the manifest; nothing where it is the listed one."""
    try:
        size = path.stat().st_size
        found = f"sha256 {digest_of_file(path)}" if size == entry.size_bytes else f"{size} bytes"
    except OSError as error:
        return [Fault(where=entry.path, what="can't be read", value=error.strerror, fix="give yourself access to it")]
    wanted = f"sha256 {entry.sha256}" if size == entry.size_bytes else f"{entry.size_bytes} bytes"
    return [] if found == wanted else [Fault(where=entry.path, what="changed", value=found, allowed=wanted)]


def safe_to_read(faults: list[Fault]) -> bool:
    """Whether what `compare` found leaves the files readable: a link or a pipe may lead anywhere, or never end."""
    return not any(NOT_PLAIN in fault.what for fault in faults)
