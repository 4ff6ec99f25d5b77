"""Before work is sent to other machines: every pinned input into the artifact store, which they all read."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from quantplay.errors import IntegrityError
from quantplay.evalset.task_layout import read_bytes, task_layout
from quantplay.handoff.contents import source_files
from quantplay.plays.pin import TRAINING_FILE, require_unchanged
from tasks.options import PLAY
from tasks.workbench import RunRef, workbench


@task(name="send-inputs", **PLAY)
def send_inputs(run: RunRef) -> RunRef:
    """Store what is not stored yet; returns the run as other machines read it. Raises InputError for inputs they could not use."""
    require_unchanged(run.inputs, run.read(), run.paths())
    evaluation = sources_of(run)["evaluation"]
    task_layout({name: read_bytes(path) for name, path in evaluation.items()})  # before anything is copied
    artifacts = workbench().artifacts
    for kind, files in sources_of(run).items():
        for entry in getattr(run.inputs, kind).files:
            if artifacts.size(entry.sha256) != entry.size_bytes:
                store_input(files[entry.path], entry.sha256)
    return run.model_copy(update={"sent": True})


def store_input(path: Path, wanted: str) -> None:
    """Put one pinned file into the artifact store. Raises IntegrityError where it is not the pinned one any more."""
    stored = workbench().artifacts.put_file(path)
    if stored.sha256 != wanted:
        raise IntegrityError(
            f"{path} changed while it was archived", value=stored.sha256, allowed=wanted,
            fix="restore the file and run again",
        )  # fmt: skip


def sources_of(run: RunRef) -> dict[str, dict[str, Path]]:
    """Every pinned input: kind -> name in its manifest -> file."""
    paths = run.paths()
    found = source_files(
        run.inputs, model=paths.model, calibration={"calibration.jsonl": paths.calibration},
        evaluation=paths.evaluation_files(), heldout={"heldout.jsonl": paths.heldout},
        traffic={"traffic.jsonl": paths.traffic} if paths.traffic else {},
        training={TRAINING_FILE: paths.training} if paths.training else {},
    )  # fmt: skip
    return {kind: dict(files) for kind, files in found.items()}
