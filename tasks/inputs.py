"""Pinned inputs on a machine that has no plan file: put together from the artifact store, once a content, kept for reuse."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

from quantplay.digest import digest_of_file
from quantplay.engines.whole_file import flush, require_space
from quantplay.errors import IntegrityError
from quantplay.evalset.task_layout import task_file_of, task_layout
from quantplay.handoff.sources import stays_inside
from quantplay.plan import Plan
from quantplay.plays.pin import CALIBRATION_FILE, TRAINING_FILE, Paths
from quantplay.records import FileEntry, Inputs, Manifest
from quantplay.store.artifacts import ArtifactStore


def materialised(plan: Plan, inputs: Inputs, artifacts: ArtifactStore, *, folder: Path, scratch: Path) -> Paths:
    """Paths of the inputs below `folder`, each set in a folder named by its content; made in `scratch`, on the same disk.

    Every file was verified by its digest when it was put there. Two programs may do it at once. Raises IntegrityError where
    the artifact store does not have a file, or has another one.
    """

    def put_together(manifest: Manifest, layout: dict[str, str] | None = None) -> Path:
        return whole_set(manifest, layout or {}, artifacts, folder / manifest.content, scratch)

    evaluation = inputs.evaluation
    layout = task_layout({entry.path: content(entry, artifacts, scratch) for entry in evaluation.files})
    items = put_together(evaluation, layout)
    tasks = tuple(items / task_file_of(layout, Path(task).stem) for task in plan.evaluation.tasks)
    return Paths(
        model=put_together(inputs.model),
        calibration=put_together(inputs.calibration) / CALIBRATION_FILE,
        gate=items / "gate.jsonl",
        dev=items / "dev.jsonl",
        heldout=put_together(inputs.heldout) / "heldout.jsonl",
        tasks=tasks,
        allow_code=plan.evaluation.allow_code,
        traffic=put_together(inputs.traffic) / "traffic.jsonl" if inputs.traffic is not None else None,
        training=put_together(inputs.training) / TRAINING_FILE if inputs.training is not None else None,
    )


def content(entry: FileEntry, artifacts: ArtifactStore, scratch: Path) -> Callable[[], bytes]:
    """Reads one stored file, verified."""

    def read() -> bytes:
        copy = scratch / f"read-{uuid4().hex}"
        try:
            return fetched(entry, artifacts, copy).read_bytes()
        finally:
            copy.unlink(missing_ok=True)

    return read


def whole_set(
    manifest: Manifest, layout: dict[str, str], artifacts: ArtifactStore, target: Path, scratch: Path
) -> Path:
    """`target` with every file of `manifest` (under its name, or where `layout` puts it): there whole, or not at all."""
    places = {layout.get(entry.path, entry.path): entry for entry in manifest.files}
    if is_whole(target, places):
        with suppress(OSError):
            os.utime(target)  # it is in use: `quantplay artifacts prune` removes what nobody used for long
        return target
    require_space(target, sum(entry.size_bytes for entry in manifest.files))
    making = Path(mkdtemp(prefix="inputs-", dir=scratch))
    for place, entry in places.items():
        if not stays_inside(place):
            raise IntegrityError("a pinned file is named so that it would leave its folder", value=place)
        (making / place).parent.mkdir(parents=True, exist_ok=True)
        fetched(entry, artifacts, making / place)
    for inner in (*(path for path in making.rglob("*") if path.is_dir()), making):
        flush(inner)
    making.chmod(0o755)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not is_whole(
        target, places
    ):  # somebody changed it: out of the way, and gone with the scratch
        with suppress(FileNotFoundError):
            target.rename(scratch / f"damaged-{making.name}")
    try:
        making.rename(target)
    except OSError:
        if not is_whole(target, places):
            raise
        shutil.rmtree(making, ignore_errors=True)  # another program was faster: its files are the same
    flush(target.parent)
    return target


def is_whole(folder: Path, places: dict[str, FileEntry]) -> bool:
    """Whether each file lies there with its size. Small ones are digested again before each play; weights before the lock."""
    return folder.is_dir() and all(
        (folder / place).is_file() and (folder / place).stat().st_size == entry.size_bytes
        for place, entry in places.items()
    )


def fetched(entry: FileEntry, artifacts: ArtifactStore, target: Path) -> Path:
    """The stored file at `target`, verified: another name of the same bytes where the store is a folder on this disk, else a copy."""
    local = artifacts.local_path(entry.sha256)
    try:
        if local is not None and linked(local, target):
            if digest_of_file(target) != entry.sha256:
                artifacts.verify(entry.sha256)  # says what is damaged, and what to do
            return target
        artifacts.get(entry.sha256, target)
    except IntegrityError as error:
        raise IntegrityError(
            f"{entry.path}, an input of this run, can't be had from the artifact store", value=error.value,
            allowed=f"sha256 {entry.sha256}",
            fix="give whoever sends the work and every worker the same QUANTPLAY_ARTIFACTS_URL; a damaged file there: delete "
            "it and run again, it is then stored anew",
        ) from error  # fmt: skip
    flush(target)
    return target


def linked(file: Path, target: Path) -> bool:
    """A hard link, because a model folder may not hold links that leave it; False where the disk can't."""
    try:
        os.link(file, target)
    except OSError:
        return False
    return True
