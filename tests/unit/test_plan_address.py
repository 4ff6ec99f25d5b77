"""A plan at an address is fetched with exactly what it names, whole or not at all, and never leads out of its folder."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plan_samples import PLAN, edited, write_sample
from pydantic import TypeAdapter

from quantplay import settings as settings_module
from quantplay.errors import InputError, PlanError, QuantplayError
from quantplay.plan_file import read_plan
from quantplay.plays.check import check_plan
from tasks import plans, remote
from tasks.plans import local_plan, plan_beside

NAMED = {
    "plan.yaml", "gate.jsonl", "dev.jsonl", "calibration.jsonl", "heldout.jsonl",
    "model/config.json", "model/model.safetensors", "model/tokenizer.json",
}  # fmt: skip


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose content lies at memory://bucket/support; what is fetched lies below a home of the test's own."""
    import fsspec

    monkeypatch.setattr(remote, "STORES", (*remote.STORES, "memory"))
    monkeypatch.setenv("QUANTPLAY_HOME", str(tmp_path / "home"))
    settings_module.settings.cache_clear()
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    folder = tmp_path / "source"
    write_sample(folder)
    (folder / "secret.txt").write_text("nobody named me")
    (folder / "model" / ".hidden").write_text("x")
    upload(folder)
    yield folder
    memory.store.clear()
    settings_module.settings.cache_clear()


def upload(folder: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/bucket/support/{path.relative_to(folder)}", path.read_bytes())


def replace(plan: str) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/bucket/support/plan.yaml", plan.encode())


ADDRESS = "memory://bucket/support/plan.yaml"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def leftovers() -> list[Path]:
    top = plans.plans_folder()
    return [path for path in top.iterdir() if path.name.startswith(".")] if top.is_dir() else []


def test_what_the_plan_names_is_there_and_nothing_else(bucket: Path) -> None:
    path = local_plan(ADDRESS)
    assert files(path.parent) == NAMED
    for name in NAMED:
        assert (path.parent / name).read_bytes() == (bucket / name).read_bytes()
    assert read_plan(path).digest() == read_plan(bucket / "plan.yaml").digest()
    assert check_plan(path).good
    assert leftovers() == []


def test_fetching_again_finds_what_is_there(bucket: Path) -> None:
    first = local_plan(ADDRESS)
    touched = (first.parent / "gate.jsonl").stat()
    assert local_plan(ADDRESS) == first
    assert (first.parent / "gate.jsonl").stat() == touched, "nothing was fetched twice"
    (bucket / "gate.jsonl").write_text((bucket / "dev.jsonl").read_text())
    upload(bucket)
    second = local_plan(ADDRESS)
    assert second != first
    assert (second.parent / "gate.jsonl").read_bytes() == (bucket / "dev.jsonl").read_bytes()
    assert (first.parent / "gate.jsonl").read_bytes() != (second.parent / "gate.jsonl").read_bytes(), (
        "a run keeps its bytes"
    )


@pytest.mark.parametrize(
    "name", ["../gate.jsonl", "/etc/passwd", "~/gate.jsonl", "a/../../gate.jsonl", "a\\\\..\\\\gate.jsonl", "."]
)
def test_no_name_leads_out_of_the_folder(bucket: Path, name: str) -> None:
    replace(edited("gate: gate.jsonl", f'gate: "{name}"'))
    with pytest.raises(PlanError) as caught:
        local_plan(ADDRESS)
    assert [fault.where for fault in caught.value.faults] == ["evaluation.gate"]
    assert leftovers() == []


def test_everything_that_is_missing_is_told_at_once(bucket: Path) -> None:
    text = edited("file: calibration.jsonl", "file: none.jsonl")
    text = edited("gate: gate.jsonl", "gate: model", text)  # a folder is no file
    replace(edited("source: model", "source: nowhere", text))
    with pytest.raises(PlanError) as caught:
        local_plan(ADDRESS)
    assert {fault.where for fault in caught.value.faults} == {
        f"memory://bucket/support/{name}" for name in ("none.jsonl", "model", "nowhere")
    }
    assert files(plans.plans_folder()) == set()


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ("name: [", "not a plan"),
        ("\x00\x01", "not a plan"),
        (PLAN.replace("seed: 3", "seed: minus"), "not a plan"),
        ("x" * 200_000, "too large"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_address(bucket: Path, plan: str, says: str) -> None:
    replace(plan)
    with pytest.raises(QuantplayError, match=says) as caught:
        local_plan(ADDRESS)
    assert ADDRESS in str(caught.value)
    assert str(plans.plans_folder()) not in str(caught.value)
    assert leftovers() == []


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/plan.yaml", "http://example.com/plan.yaml", "nonsense://bucket/plan.yaml", "s3://plan.yaml",
        "memory://../plan.yaml", "simplecache::s3://bucket/plan.yaml",
        "memory://nowhere/plan.yaml", "file://other.example/plan.yaml",
    ],
)  # fmt: skip
def test_an_address_that_holds_no_plan(bucket: Path, address: str) -> None:
    with pytest.raises(InputError):
        local_plan(address)
    assert leftovers() == []


@pytest.mark.parametrize(
    "protocol",
    [
        "generic", "zip", "tar", "jupyter", "cached", "simplecache", "dir", "reference", "webhdfs", "ftp", "sftp", "http", "https",
        "data", "github", "git", "memory", "libarchive", "root", "S3", "nonsense",
    ],
)  # fmt: skip
def test_no_other_file_system_is_even_opened(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of them read from wherever the address says, or run what is there: only stores are opened."""
    import fsspec

    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda _: pytest.fail("opened"))
    with pytest.raises(InputError, match="can't be fetched from there"):
        local_plan(f"{protocol}://bucket/support/plan.yaml")


def test_whatever_a_file_system_raises_is_told_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def broken(_: str) -> None:
        raise RuntimeError("no such account")

    monkeypatch.setattr(fsspec.core, "url_to_fs", broken)
    with pytest.raises(InputError, match="no such account"):
        local_plan("s3://bucket/plan.yaml")


@pytest.mark.parametrize("field", ["plan", "folder"])
@pytest.mark.parametrize(
    "address",
    [
        "s3://KEY:SECRET@bucket/plan.yaml", "s3://KEY:SEC/SECRET@bucket/plan.yaml", "s3://KEY:S@SECRET@bucket/plan.yaml",
        "s3://SECRET@bucket/plan.yaml", "s3://bucket/plan?key=SECRET.yaml", "file://KEY:SECRET@host/plan.yaml",
        "https://KEY:SECRET@host/plan.yaml",
    ],
)  # fmt: skip
def test_credentials_in_an_address_reach_neither_the_server_nor_a_message(address: str, field: str) -> None:
    """What the schema refuses Prefect never stores."""
    from flows.form_to_plan import filled

    assert not re.search(pattern_of(field), address)
    with pytest.raises(InputError) as caught:
        local_plan(address) if field == "plan" else filled(data={"folder": address})
    assert "SECRET" not in str(caught.value)
    assert "***" in str(caught.value)


@pytest.mark.parametrize(
    "folder", ["/data/support models", "file:///data", "s3://bucket/a", "gs://b/a", "abfss://c/a:b"]
)
def test_where_a_plan_may_lie(folder: str) -> None:
    assert re.search(pattern_of("plan"), f"{folder}/plan.yaml")
    assert re.search(pattern_of("folder"), folder)


def pattern_of(field: str) -> str:
    """What the server holds a parameter to."""
    from flows.form_fields import PlanAddress
    from flows.plan_form import Data

    return (
        TypeAdapter(PlanAddress).json_schema() if field == "plan" else Data.model_json_schema()["properties"]["folder"]
    )["pattern"]


def test_a_path_and_a_file_address_are_used_where_they_are(bucket: Path) -> None:
    plan = bucket / "a plan.yaml"
    assert local_plan(str(plan)) == plan
    assert local_plan(plan.as_uri()) == plan


def test_a_task_file_comes_with_its_folder(bucket: Path) -> None:
    tasks = bucket / "tasks" / "data"
    tasks.mkdir(parents=True)
    (tasks / "one.jsonl").write_text('{"q": 1}\n')
    (bucket / "tasks" / "one.yaml").write_text("task: one\n")
    upload(bucket)
    replace(edited("heldout: heldout.jsonl", "heldout: heldout.jsonl\n  tasks: [tasks/one.yaml]"))
    assert files(local_plan(ADDRESS).parent) == NAMED | {"tasks/one.yaml", "tasks/data/one.jsonl"}
    replace(edited("heldout: heldout.jsonl", "heldout: heldout.jsonl\n  tasks: [one.yaml]"))
    with pytest.raises(PlanError, match="folder of its own"):
        local_plan(ADDRESS)


def test_a_form_over_a_folder_uses_the_files_there(bucket: Path) -> None:
    plan = read_plan(bucket / "plan.yaml")
    path = plan_beside(PLAN, plan, str(bucket))
    assert read_plan(path).digest() == plan.digest()
    assert check_plan(path).good
    assert plan_beside(PLAN, plan, str(bucket)) == path
    assert (path.parent / "gate.jsonl").resolve() == bucket / "gate.jsonl"
    fetched = plan_beside(PLAN, plan, "memory://bucket/support")
    assert files(fetched.parent) == NAMED
    with pytest.raises(InputError):
        plan_beside(
            PLAN, plan.model_copy(update={"model": plan.model.model_copy(update={"source": "../x"})}), str(bucket)
        )


def test_what_a_killed_process_left_is_swept(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = plans.plans_folder() / ".partial-old"
    old.mkdir(parents=True)
    local_plan(ADDRESS)
    assert old.exists(), "it may be under way"
    now = time.time()
    monkeypatch.setattr(plans.time, "time", lambda: now + plans.LEFTOVER_SECONDS + 60)
    local_plan(ADDRESS)
    assert not old.exists()
