"""The full-precision model and the calibration file for a replay: found by name, checked by digest, and nothing else taken along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from quantplay.digest import digest_of_file
from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.evalset.models import refused_kind
from quantplay.handoff import layout
from quantplay.records import Digest, Inputs, Manifest
from quantplay.store.artifacts import ArtifactStore


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What an artifact is made from."""

    model: Path  # a folder of links to the pinned files and no others
    calibration: Path
    trained: Path | None = None  # the master weights of a trained artifact


def checked_sources(folder: Path, inputs: Inputs, staging: Path) -> Sources:
    """The pinned files below `folder`/model and `folder`/calibration, each one read and found to be the pinned one.

    `staging`: an empty folder that gets a link to every file of the model, so that what lies beside them plays no part. Raises
    IntegrityError with every file that is missing, another one, code, or named so that it would leave the folder.
    """
    faults = [
        fault
        for manifest in (inputs.model, inputs.calibration)
        for fault in faults_of(folder / manifest.kind, manifest)
    ]
    if len(inputs.calibration.files) != 1:
        faults.append(
            Fault(where="inputs.json", what="calibration should be one file", value=str(len(inputs.calibration.files)))
        )
    if faults:
        raise IntegrityError(
            f"{folder} does not hold the files this artifact was made from", faults=faults,
            fix="name a folder with `model/` and `calibration/calibration.jsonl` as inputs.json lists them: --sources FOLDER",
        )  # fmt: skip
    for entry in inputs.model.files:
        link = staging / entry.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((folder / "model" / entry.path).resolve())
    return Sources(model=staging, calibration=folder / "calibration" / inputs.calibration.files[0].path)


def trained_weights(folder: Path, trained: Digest, artifacts_url: str, scratch: Path) -> Path:
    """The master weights of a trained artifact: below `folder`, or from the artifact store, where a run keeps them by digest.

    Raises IntegrityError where the file below `folder` is another one, InputError where it is in neither place.
    """
    beside = folder / layout.TRAINED
    if beside.is_file():
        found = digest_of_file(beside)
        if found != trained:
            raise IntegrityError(
                "these are not the trained weights the recipe names", value=f"{beside}: sha256 {found}",
                allowed=f"sha256 {trained}", fix="put the right file there, or take it away: the artifact store may have it",
            )  # fmt: skip
        return beside
    store = ArtifactStore(artifacts_url)
    if not store.exists(trained):
        raise InputError(
            "the weights this artifact was rounded from are not here", value=f"{beside}, {store.uri(trained)}",
            allowed=f"a file of sha256 {trained}", fix=f"name a folder that holds {layout.TRAINED}: --sources FOLDER",
        )  # fmt: skip
    return store.get(trained, scratch / "trained.safetensors")


def faults_of(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """Where the files in `folder` are not those of `manifest`."""
    seen: set[str] = set()
    for entry in manifest.files:
        where = f"{manifest.kind}/{entry.path}"
        if not stays_inside(entry.path) or entry.path in seen:
            yield Fault(where=where, what="inputs.json names a file that leaves its folder, or names it twice")
            continue
        seen.add(entry.path)
        if manifest.kind == "model":
            yield from refused_kind(entry.path)
        path = folder / entry.path
        if not path.is_file():
            yield Fault(where=where, what="missing", allowed=f"sha256 {entry.sha256}")
        elif (found := digest_of_file(path)) != entry.sha256:
            yield Fault(
                where=where,
                what="another file than the pinned one",
                value=f"sha256 {found}",
                allowed=f"sha256 {entry.sha256}",
            )


def stays_inside(name: str) -> bool:
    """Whether a name of inputs.json, `/` as separator, stays below the folder it is joined to."""
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and PurePosixPath(name).as_posix() == name
        and not (name.startswith("/") or ".." in parts or "\\" in name or "\0" in name)
    )
