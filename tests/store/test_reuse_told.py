"""What a run that begins is told of the registry: the records of a real database, asked as the task asks."""

from __future__ import annotations

import pytest
import store_samples as samples
from locked_models import lock_model

from quantplay.records import FileEntry, Inputs, Manifest
from quantplay.settings import Settings
from quantplay.store.registry import Store
from tasks import reuse
from tasks.workbench import Workbench


@pytest.fixture
def bench(store: Store, database_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Store:
    here = Workbench(
        settings=database_settings, store=store, artifacts=store.artifacts, fingerprint=samples.FINGERPRINT
    )
    monkeypatch.setattr(reuse, "workbench", lambda: here)
    return store


def inputs(model: str) -> Inputs:
    source = Manifest.of("model", model, (FileEntry(path="weights", size_bytes=9, sha256=samples.digest(model)),))
    return Inputs(model=source, calibration=source, evaluation=source, heldout=source)


def test_the_same_model_in_the_same_runtime_is_told_and_no_other(bench: Store) -> None:
    assert reuse.what_is_there(samples.plan(), inputs("model")) == ()
    mine = lock_model(bench, "desk")
    lock_model(bench, "elsewhere", model="other")
    lock_model(bench, "served", envelope={"runtime": "vllm"})
    (found,) = reuse.what_is_there(samples.plan(), inputs("model"))
    assert (found.listed.entry.key, found.differs) == (mine, ())
    page = reuse.page_of((found,))
    assert f"`quantplay registry show {mine[:12]}`" in page
    assert "The run goes on" in page


def test_one_that_an_incident_is_open_about_is_not_told(bench: Store) -> None:
    bench.open_incident(kind="regression", package=lock_model(bench, "desk"), what="it is wrong now")
    assert reuse.what_is_there(samples.plan(), inputs("model")) == ()
