"""Pinned inputs put together from the artifact store: the same bytes, whole or not at all, made once."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from plan_samples import edited, write_sample

from quantplay.errors import IntegrityError
from quantplay.plan import Plan
from quantplay.plan_file import read_plan
from quantplay.plays.pin import Paths, pin, require_unchanged
from quantplay.records import Inputs
from quantplay.store.artifacts import ArtifactStore
from tasks.inputs import materialised


def write_task(folder: Path) -> None:
    """A task of the team's own that reads files beside and above it."""
    (folder / "more").mkdir()
    (folder / "common").mkdir()
    (folder / "more" / "sums.yaml").write_text(
        "include: ../common/base.yaml\ntask: sums\ndataset_kwargs: {data_files: {test: items.jsonl}}\n"
    )
    (folder / "common" / "base.yaml").write_text(
        "dataset_path: json\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\n"
    )
    (folder / "more" / "items.jsonl").write_text('{"question": "1+1=", "answer": "2"}\n')


class Place:
    """A plan with its files, stored, and a second machine's folders."""

    def __init__(self, top: Path) -> None:
        tasks = "  heldout: heldout.jsonl\n  tasks: [more/sums.yaml]\n"
        path = write_sample(top / "team", edited("  heldout: heldout.jsonl\n", tasks))
        write_task(top / "team")
        self.top, self.plan = top, read_plan(path)
        self.pinned = pin(self.plan, path.parent)
        self.artifacts = ArtifactStore(str(top / "artifacts"))
        paths = self.pinned.paths
        for file in (*(paths.model / one.path for one in self.inputs.model.files), *self.data_files(paths)):
            self.artifacts.put_file(file)
        shutil.rmtree(path.parent)

    @property
    def inputs(self) -> Inputs:
        return self.pinned.inputs

    def data_files(self, paths: Paths) -> list[Path]:
        return [paths.calibration, *paths.evaluation_files().values(), paths.heldout]

    def materialise(self, store: ArtifactStore | None = None) -> Paths:
        scratch = self.top / "home" / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        folder = self.top / "home" / "inputs"
        return materialised(self.plan, self.inputs, store or self.artifacts, folder=folder, scratch=scratch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def check(plan: Plan, inputs: Inputs, paths: Paths) -> None:
    require_unchanged(inputs, plan, paths, model=True)


def test_another_machine_has_the_very_inputs(place: Place) -> None:
    paths = place.materialise()
    check(place.plan, place.inputs, paths)
    weights = next(file for file in paths.model.iterdir() if file.suffix == ".safetensors")
    stored = place.artifacts.local_path(next(f.sha256 for f in place.inputs.model.files if f.path == weights.name))
    assert stored is not None
    assert weights.samefile(stored), "on one disk the weights are not copied"
    before = weights.parent.stat().st_ino
    assert place.materialise() == paths
    assert weights.parent.stat().st_ino == before, "made once"


def test_a_store_on_another_disk_is_copied_from(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    check(place.plan, place.inputs, place.materialise())


def test_a_set_that_was_cut_short_is_made_again(place: Place) -> None:
    paths = place.materialise()
    paths.gate.unlink()
    again = place.materialise()
    check(place.plan, place.inputs, again)


def test_many_at_once_end_with_one_whole_set(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: place.materialise(), range(8)))
    assert len(set(found)) == 1
    check(place.plan, place.inputs, found[0])
    kinds = ("model", "calibration", "evaluation", "heldout")
    wanted = {getattr(place.inputs, kind).content for kind in kinds}
    assert {entry.name for entry in (place.top / "home" / "inputs").iterdir()} == wanted


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_what_the_store_does_not_have_is_named_and_nothing_is_half_made(place: Place, damage: str) -> None:
    entry = place.inputs.heldout.files[0]
    stored = place.artifacts.local_path(entry.sha256)
    assert stored is not None
    stored.chmod(0o644)
    if damage == "missing":
        stored.unlink()
    else:
        stored.write_bytes(b"x" * entry.size_bytes)
    with pytest.raises(IntegrityError, match=r"heldout\.jsonl, an input of this run") as caught:
        place.materialise()
    assert "QUANTPLAY_ARTIFACTS_URL" in str(caught.value)
    assert not (place.top / "home" / "inputs" / place.inputs.heldout.content).exists()
