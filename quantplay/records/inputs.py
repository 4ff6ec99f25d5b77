"""What a run reads, pinned."""

from __future__ import annotations

from typing import Self

from quantplay.digest import digest_of_entries
from quantplay.records.base import Digest, InputKind, Record


class FileEntry(Record):
    path: str  # relative to the set, `/` as separator
    size_bytes: int
    sha256: Digest


class Manifest(Record):
    """A pinned input: every file with its digest. `digest` does not depend on where the files lie."""

    kind: InputKind
    source: str  # as the plan wrote it: a path relative to the plan, or a hub id
    revision: str | None = None  # full commit of a hub source
    files: tuple[FileEntry, ...]
    content: Digest  # digest of (path, sha256) of all files

    @classmethod
    def of(cls, kind: InputKind, source: str, files: tuple[FileEntry, ...], revision: str | None = None) -> Self:
        content = digest_of_entries((file.path, file.sha256) for file in files)
        return cls(kind=kind, source=source, revision=revision, files=files, content=content)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def weights_bytes(self) -> int:
        """Of a model's safetensors files."""
        return sum(file.size_bytes for file in self.files if file.path.endswith(".safetensors"))


class Inputs(Record):
    """All that a run reads, pinned before any result exists."""

    later = frozenset({"traffic", "training"})

    model: Manifest
    calibration: Manifest
    evaluation: Manifest
    heldout: Manifest
    traffic: Manifest | None = None  # sample of traffic the calibration set is compared with
    training: Manifest | None = None  # texts that play 6 trains on

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Every input there is."""
        known = (self.model, self.calibration, self.evaluation, self.heldout)
        return (*known, *(one for one in (self.traffic, self.training) if one is not None))
