"""The files a locked package is measured again with, from the artifact store: what is missing and what is not as it was locked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quantplay.errors import IntegrityError
from quantplay.gate.revalidation import Finding, Locked
from quantplay.plays.pin import Paths, Pinned, require_unchanged
from quantplay.plays.revalidate import sentence
from quantplay.records import Digest, Inputs
from quantplay.store.artifacts import ArtifactStore
from tasks.inputs import materialised


@dataclass(frozen=True, kw_only=True)
class LockedFiles:
    """All verified by their digests."""

    candidate: Path
    reference: Path  # full precision in the serving runtime
    pinned: Pinned


def locked_files(
    locked: Locked,
    inputs: Inputs,
    artifacts: ArtifactStore,
    *,
    folder: Path,
    scratch: Path,
    convert: Callable[[], Path],
) -> LockedFiles | Finding:
    """Or why they can't be had. `folder`: where inputs are put together; `convert`: full precision made again where it is not stored."""
    sha256 = locked.artifact.sha256
    if not artifacts.exists(sha256):
        return Finding(
            status="stale",
            text=f"The locked file is missing from the artifact store, so nothing could be measured: {artifacts.uri(sha256)}. "
            f"Put it back from a backup, or from artifact/ of the package ({locked.artifact.file_name}).",
        )
    try:
        candidate = verified(artifacts, sha256, scratch)
    except IntegrityError as error:
        return Finding(
            status="regressed", text=f"The stored file is no longer the one that was locked: {sentence(error)}"
        )
    try:
        paths: Paths = materialised(locked.plan, inputs, artifacts, folder=folder, scratch=scratch)
        require_unchanged(inputs, locked.plan, paths)
        known = locked.baseline.reference.model
        reference = verified(artifacts, known, scratch) if artifacts.exists(known) else convert()
    except IntegrityError as error:
        text = f"An input is missing or damaged, so nothing could be measured: {sentence(error)}"
        return Finding(status="stale", text=text)
    return LockedFiles(candidate=candidate, reference=reference, pinned=Pinned(inputs=inputs, paths=paths))


def verified(artifacts: ArtifactStore, sha256: Digest, scratch: Path) -> Path:
    """A local path of a stored GGUF file's verified bytes; from a remote store they are copied once."""
    local = artifacts.local_path(sha256)
    if local is None:
        return artifacts.get(sha256, scratch / f"{sha256}.gguf")
    artifacts.verify(sha256)
    return local
