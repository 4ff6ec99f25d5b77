"""manifest.json: every file of a package with its size and SHA-256. It leaves out itself and signatures/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quantplay.digest import digest_of_bytes, digest_of_file
from quantplay.errors import Fault
from quantplay.handoff.layout import MANIFEST, SCHEMA, SIGNATURES, json_bytes
from quantplay.records import Digest, FileEntry, Record

LARGEST_MANIFEST = 64 << 20


class PackageManifest(Record):
    """What a package consists of. Its file's digest, kept outside the package, proves the whole package."""

    kind: str = "quantplay package"
    layout: int = SCHEMA
    run: str
    files: tuple[FileEntry, ...]  # sorted by path

    def to_bytes(self) -> bytes:
        return json_bytes(self.body())

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
        body: Any = json.loads(path.read_bytes())
        if isinstance(body, dict) and isinstance(body.get("layout"), int) and body["layout"] > SCHEMA:
            return Fault(
                where=MANIFEST,
                what="the package was written by a newer quantplay",
                value=f"layout {body['layout']}",
                allowed=f"layout {SCHEMA}",
                fix="install a newer quantplay",
            )
        return PackageManifest.model_validate(body)
    except (ValueError, RecursionError) as error:
        what = "the manifest has the wrong form" if isinstance(error, ValidationError) else "the manifest is no JSON"
        return Fault(where=MANIFEST, what=what, value=str(error))


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
            faults.append(Fault(where=entry.path, what="missing"))
        elif path.is_symlink() or not path.is_file():
            faults.append(Fault(where=entry.path, what="not a plain file", fix="copy the package again, without links"))
        elif (size := path.stat().st_size) != entry.size_bytes:
            faults.append(
                Fault(where=entry.path, what="changed", value=f"{size} bytes", allowed=f"{entry.size_bytes} bytes")
            )
        elif (found := digest_of_file(path)) != entry.sha256:
            faults.append(
                Fault(where=entry.path, what="changed", value=f"sha256 {found}", allowed=f"sha256 {entry.sha256}")
            )
    faults += [
        Fault(where=name, what="added: not listed in the manifest", fix="delete it")
        for name in sorted(files.keys() - listed)
    ]
    return faults
