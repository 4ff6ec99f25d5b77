"""The written hand-off package."""

from __future__ import annotations

from quantplay.records.base import Digest, Record


class MadeOf(Record):
    """Keys of everything a package was locked with: enough to measure it again without the plan's folder."""

    plan: Digest
    baseline: Digest
    artifact: Digest
    evaluation: Digest
    decision: Digest
    inputs: tuple[Digest, ...]  # keys of the manifests


class PackageRef(Record):
    """Play 7: a written hand-off package."""

    later = frozenset({"made_of"})

    run: str
    path: str
    manifest: Digest  # digest of manifest.json
    archive: str | None
    size_bytes: int
    made_of: MadeOf | None = None  # what it was locked with, in the product database
