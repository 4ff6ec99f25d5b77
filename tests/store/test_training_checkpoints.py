"""A training's newest checkpoint outlives its machine: stored while it trains, put back where it is missing, dropped at the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import store_samples as samples
from safetensors.numpy import save_file

from quantplay.engines.whole_file import written_whole
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.registry import Store
from tasks import checkpoints
from tasks.checkpoints import Checkpoints

KEY = samples.digest("a training")


def write_checkpoint(path: Path, step: int) -> bytes:
    text = json.dumps({"identity": KEY, "progress": {"step": step}})
    with written_whole(path) as partial:
        save_file({"master/w": np.full(8, step, np.float32)}, partial, metadata={"quantplay": text})
    return path.read_bytes()


def on_machine(store: Store, folder: Path, name: str) -> Checkpoints:
    (folder / name).mkdir(exist_ok=True)
    artifacts = ArtifactStore(str(folder / "artifacts"), pins=lambda sha256: ())
    return Checkpoints(store, artifacts, KEY, folder / name / "checkpoint.safetensors")


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "artifacts").rglob("*") if path.is_file()]


def train(machine: Checkpoints, steps: range) -> list[str]:
    """Write a checkpoint every step, as a training's process does; what was reported meanwhile."""
    told = []
    with machine.followed(lambda done, total, text: told.append(text)) as report:
        for step in steps:
            write_checkpoint(machine.file, step)
            report(step, 100, f"step {step}")
            if machine.storing is not None:
                machine.storing.result()
    return told


def test_another_machine_goes_on_from_the_newest_and_nothing_is_left(store: Store, tmp_path: Path) -> None:
    first, second = (on_machine(store, tmp_path, name) for name in ("lost", "new"))
    assert first.restore() is None
    assert train(first, range(1, 4)) == ["step 1", "step 2", "step 3"], "what was listening before still does"
    assert len(files(tmp_path)) == 1, "older ones are dropped"
    assert second.restore() == 3
    assert second.file.read_bytes() == first.file.read_bytes()
    train(second, range(4, 6))
    assert first.restore() == 5, "the one that lay here was older"
    first.forget()
    assert files(tmp_path) == []
    assert on_machine(store, tmp_path, "third").restore() is None


def test_a_newer_one_on_this_machine_stays(store: Store, tmp_path: Path) -> None:
    machine = on_machine(store, tmp_path, "here")
    train(machine, range(1, 3))
    newer = write_checkpoint(machine.file, 7)
    assert machine.restore() is None
    assert machine.file.read_bytes() == newer


def test_a_damaged_one_on_this_machine_is_replaced(store: Store, tmp_path: Path) -> None:
    machine = on_machine(store, tmp_path, "here")
    train(machine, range(1, 3))
    machine.file.write_bytes(b"cut short")
    assert machine.restore() == 2


def test_a_training_goes_on_where_its_checkpoint_can_not_be_stored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, told = on_machine(store, tmp_path, "here"), []
    (tmp_path / "artifacts").write_text("no folder")
    monkeypatch.setattr(checkpoints, "announce", lambda play, text: told.append(text))
    assert train(machine, range(1, 3)) == ["step 1", "step 2"]
    assert len(told) == 2
    assert "goes on, but its checkpoint is on this machine alone" in told[0]
