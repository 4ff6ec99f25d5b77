"""What a job or a resume may be asked: its run, plan and inputs are checked against the product database, not believed."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
import store_samples as samples

from quantplay.errors import InputError, IntegrityError
from quantplay.records import FileEntry, Inputs, Manifest
from quantplay.store.registry import Store
from tasks import runs
from tasks.runs import OPENED, pinned_contents, require_opened
from tasks.signoffs import run_to_resume
from tasks.workbench import RunRef


def manifest(kind: str, word: str = "") -> Manifest:
    files = (FileEntry(path=f"{kind}.jsonl", size_bytes=1, sha256=samples.digest((kind, word))),)
    return Manifest.of(kind, f"/data/{kind}", files)


def inputs(word: str = "") -> Inputs:
    return Inputs(
        model=manifest("model", word), calibration=manifest("calibration"), evaluation=manifest("evaluation"),
        heldout=manifest("heldout"),
    )  # fmt: skip


@pytest.fixture
def opened(store: Store, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setattr(runs, "workbench", lambda: SimpleNamespace(store=store))
    plan = samples.plan(name="pilot")
    run = store.start_run(plan=store.put_plan(plan), profile="internal")
    body = {
        "plan": plan.digest(),
        "gate": samples.digest("gate"),
        "inputs": pinned_contents(inputs()),
        "plan_path": "/p.yaml",
    }
    store.append_event("quantplay", OPENED, str(run), body)
    return RunRef.model_construct(run=str(run), plan_path="/p.yaml", plan=plan.digest(), inputs=inputs())


def test_a_job_of_an_opened_run_is_done_and_a_forged_one_is_refused(opened: RunRef) -> None:
    require_opened(opened)
    swapped = inputs().model_copy(
        update={"model": inputs().model.model_copy(update={"files": manifest("model", "other").files})}
    )
    for forged in (
        {"run": str(uuid4())},
        {"plan": samples.digest("another plan")},
        {"inputs": inputs("other")},
        {"inputs": swapped},  # other files under the digest of those that were pinned
    ):
        with pytest.raises(IntegrityError, match="does not belong to the run it names"):
            require_opened(opened.model_copy(update=forged))


def test_a_resume_says_what_the_run_is_and_what_to_do(store: Store, opened: RunRef) -> None:
    def refused(run: UUID | str) -> str:
        with pytest.raises(InputError) as error:
            run_to_resume(store, opened.plan, pinned_contents(inputs()), str(run))
        return str(error.value)

    assert "no such run" in refused(uuid4())
    store.finish_run(opened.id, outcome=None, exit_code=1, state="failed")
    assert "failed" in (said := refused(opened.run))
    assert "without naming a run" in said
    store.finish_run(opened.id, outcome="broken", exit_code=12)
    assert "broken" in (said := refused(opened.run))
    assert f"quantplay show {opened.run[:8]}" in said
