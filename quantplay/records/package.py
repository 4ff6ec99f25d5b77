"""The written hand-off package."""

from __future__ import annotations

from quantplay.records.base import Digest, Record


class PackageRef(Record):
    """Play 7: a written hand-off package."""

    run: str
    path: str
    manifest: Digest  # digest of manifest.json
    archive: str | None
    size_bytes: int
