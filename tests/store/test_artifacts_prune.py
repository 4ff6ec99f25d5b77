"""Retention: what is pinned, packaged or read by a run under way never goes; the rest goes when it is old, and only then."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from quantplay.cli.artifacts import lying, removal
from quantplay.digest import digest_of_bytes
from quantplay.engines.scratch import claim_scratch
from quantplay.records import FileEntry, Manifest
from quantplay.settings import Settings
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.locks import turn_name
from quantplay.store.registry import Store
from tests.locked_models import lock_model
from tests.store import store_samples as samples

OLD, YOUNG = 40 * 86400, 60  # seconds
BEFORE = timedelta(days=30)


def put(store: Store, text: str, age: float = OLD) -> str:
    """A stored file of this age; its digest."""
    path = store.artifacts.local_path(digest_of_bytes(text.encode()))
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age, time.time() - age))
    return path.name


def prune(store: Store, here: Settings) -> set[str]:
    """Names of what was removed."""
    before = datetime.now(UTC) - BEFORE
    going = [one for one in lying(store, here) if one.may_go(before)]
    return {one.name for one in removal(store, here, going, before, 30)}


def manifest(*files: str, kind: str = "calibration") -> Manifest:
    return Manifest.of(
        kind, "x", tuple(FileEntry(path=str(n), size_bytes=1, sha256=file) for n, file in enumerate(files))
    )  # type: ignore[arg-type]


def test_only_what_is_old_and_needed_by_nothing_goes(store: Store, database_settings: Settings) -> None:
    pinned, packaged, source = put(store, "pinned"), put(store, "packaged"), put(store, "source")
    store.pin(pinned, "full precision in the serving runtime of a locked run")
    key = lock_model(store, "desk")
    store.set_alias("desk/production", key, actor="ops", reason="first")
    with store.engine.begin() as connection:  # the samples' digests belong to no real bytes
        made = connection.execute(
            sa.text("select artifact, manifest from quantplay.packages where key = :key"), {"key": key}
        ).one()
        connection.execute(
            sa.text("update quantplay.artifacts set canonical = replace(canonical, sha256, :to) where key = :key"),
            {"to": packaged, "key": made.artifact},
        )
        connection.execute(
            sa.text("update quantplay.manifests set canonical = replace(canonical, :old, :to)"),
            {"old": samples.digest("model"), "to": source},
        )

    # a run under way: its inputs, and every artifact of its model
    data = put(store, "calibration")
    inputs = manifest(data)
    store.put_manifest(inputs)
    recipe = samples.recipe().model_copy(update={"model": samples.digest("weights"), "seed": 7})
    reference = put(store, "reference")
    store.put_recipe(recipe.digest(), recipe)
    store.put_artifact(
        samples.digest("a"), samples.artifact().model_copy(update={"recipe": recipe.digest(), "sha256": reference})
    )
    body = {"inputs": {"model": samples.digest("weights"), "calibration": inputs.content}, "plan_path": "/x/plan.yaml"}
    run = store.start_run(plan=store.put_plan(samples.plan()), profile="internal", body=body)

    stale, young = put(store, "stale"), put(store, "young", YOUNG)
    kept = store.kept_files()
    assert kept[pinned] == ("full precision in the serving runtime of a locked run",)
    assert kept[packaged] == (f"artifact of locked package {key[:12]} (desk/production)",)
    assert kept[source] == (f"model of locked package {key[:12]} (desk/production)",)
    assert kept[data] == (f"calibration of run {str(run)[:8]}, which is under way",)
    assert kept[reference] == (f"artifact of the model of run {str(run)[:8]}, which is under way",)

    with store.hold(turn_name(run)):
        assert prune(store, database_settings) == {stale}
    assert all(store.artifacts.exists(one) for one in (pinned, packaged, source, data, reference, young))
    store.finish_run(run, outcome="close", exit_code=11)
    assert prune(store, database_settings) == {data, reference}
    assert prune(store, database_settings) == set()
    assert all(store.artifacts.exists(one) for one in (pinned, packaged, source, young))


def test_a_run_that_waits_for_a_signature_keeps_its_files_and_an_interrupted_one_does_not(
    store: Store, database_settings: Settings
) -> None:
    files = {}
    for name in ("waits", "gone"):
        files[name] = put(store, name)
        inputs = manifest(files[name])
        store.put_manifest(inputs)
        run = store.start_run(
            plan=store.put_plan(samples.plan(name)), profile="internal",
            body={"inputs": {"calibration": inputs.content}, "plan_path": "/x/plan.yaml"},
        )  # fmt: skip
        if name == "waits":
            store.finish_run(run, outcome="awaiting_signature", exit_code=10)
        else:
            with store.engine.begin() as connection:
                connection.execute(sa.text("update quantplay.runs set started_at = now() - interval '1 day' where id = :run"), {"run": run})  # fmt: skip
    settled = time.monotonic() + 20  # a database that was just started gives runs that long to take their locks
    while files["gone"] in store.kept_files() and time.monotonic() < settled:
        time.sleep(1)
    assert prune(store, database_settings) == {files["gone"]}


def test_the_command_says_what_could_go_and_removes_it(store: Store, database_settings: Settings) -> None:
    stale, kept = put(store, "x" * 5000), put(store, "y")
    store.pin(kept, "why not")
    home = database_settings.home

    def quantplay(*arguments: str) -> dict:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("QUANTPLAY_")}
        environment |= {"QUANTPLAY_HOME": str(home), "QUANTPLAY_DATABASE_URL": str(database_settings.database_url)}
        done = subprocess.run(
            [sys.executable, "-m", "quantplay.cli", "artifacts", *arguments, "--json"],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    listed = {one["name"]: one for one in quantplay("list")["entries"]}
    assert (listed[stale]["may_go"], listed[stale]["kept_by"]) == (True, [])
    assert (listed[kept]["may_go"], listed[kept]["kept_by"]) == (False, ["why not"])
    would = quantplay("prune", "--older-than", "30", "--dry-run")
    assert ([one["name"] for one in would["entries"]], would["size_bytes"], would["removed"]) == ([stale], 5000, False)
    assert store.artifacts.exists(stale)
    assert quantplay("prune", "--older-than", "50")["entries"] == []
    assert store.events(kind="artifacts.pruning") == ()
    done = quantplay("prune", "--older-than", "30")
    assert ([one["name"] for one in done["entries"]], done["removed"]) == ([stale], True)
    assert not store.artifacts.exists(stale)
    assert store.events(kind="artifacts.pruned")[-1].body == {"removed": [f"artifacts/{stale}"], "size_bytes": 5000}
    assert store.verify_events() == ()


def test_storing_a_file_again_makes_it_young(store: Store, tmp_path: Path) -> None:
    stale = put(store, "again")
    (tmp_path / "copy").write_text("again")
    assert store.artifacts.put_file(tmp_path / "copy").sha256 == stale
    assert store.remove_file(stale, datetime.now(UTC) - BEFORE) == ("stored or used again meanwhile",)
    assert store.artifacts.exists(stale)
    assert store.remove_file(stale, datetime.now(UTC) + BEFORE) == ()
    assert store.remove_file(stale, datetime.now(UTC) + BEFORE) == ("not there any more",)


SLOW_PRUNE = """
import sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from quantplay.settings import Settings
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.registry import open_store
url, home, sha256, mark = sys.argv[1:]
real = ArtifactStore.delete
def slowly(self, sha256):
    Path(mark).touch()
    time.sleep(1.5)
    return real(self, sha256)
ArtifactStore.delete = slowly
here = Settings(home=Path(home), cache=Path(home), database_url=url, artifacts_url=(Path(home) / "artifacts").as_uri(), threads=1,
    owners=Path("/nonexistent"), prefect_api_url=None)
with open_store(here) as store:
    print(store.remove_file(sha256, datetime.now(UTC) + timedelta(days=1)))
"""


@pytest.mark.parametrize("what", ["pin", "run"])
def test_what_begins_while_a_file_is_removed_sees_it_gone(
    what: str, store: Store, database_settings: Settings, tmp_path: Path
) -> None:
    """Another process is in the middle of removing: whoever pins, or opens a run, waits for it, and stores the file anew."""
    sha256, copy, mark = put(store, "raced"), tmp_path / "copy", tmp_path / "removing"
    copy.write_text("raced")
    plan = store.put_plan(samples.plan())
    arguments = [str(database_settings.database_url), str(database_settings.home), sha256, str(mark)]
    other = subprocess.Popen([sys.executable, "-c", SLOW_PRUNE, *arguments], stdout=subprocess.PIPE, text=True)
    while not mark.exists():
        assert other.poll() is None
        time.sleep(0.01)
    assert store.artifacts.exists(sha256)
    if what == "pin":
        store.pin(sha256, "artifact of a locked run")
        store.artifacts.put_file(copy)
    else:
        store.start_run(plan=plan, profile="internal", body={"inputs": {}, "plan_path": "x"})
        assert not store.artifacts.exists(sha256)
    assert other.communicate(timeout=60)[0] == "()\n"
    if what == "pin":
        store.artifacts.verify(sha256)
        assert store.remove_file(sha256, datetime.now(UTC) + BEFORE) == ("artifact of a locked run",)


def test_folders_of_plans_inputs_and_scratch(store: Store, database_settings: Settings) -> None:
    home = database_settings.home
    names = {"old": OLD, "young": YOUNG, "needed": OLD}
    for kind, name in itertools.product(("plans", "inputs", "scratch"), names):
        (home / kind / name).mkdir(parents=True)
        (home / kind / name / "file").write_text("12345")
    for kind, (name, age) in itertools.product(("plans", "inputs", "scratch"), names.items()):
        os.utime(home / kind / name, (time.time() - age, time.time() - age))
    outside = home / "outside"
    outside.mkdir()
    (outside / "model").write_text("mine")
    (home / "plans" / "old" / "link").symlink_to(outside)
    os.utime(home / "plans" / "old", (time.time() - OLD, time.time() - OLD))
    run = store.start_run(
        plan=store.put_plan(samples.plan()), profile="internal",
        body={"inputs": {"calibration": "needed"}, "plan_path": str(home / "plans" / "needed" / "plan.yaml")},
    )  # fmt: skip
    with store.hold(turn_name(run)):
        found = {(one.kind, one.name): one for one in lying(store, database_settings)}
        assert found["plans", "needed"].why == (f"run {str(run)[:8]}, which is under way",)
        assert found["inputs", "needed"].why == found["plans", "needed"].why
        assert found["inputs", "old"].size_bytes == 5
        mine = claim_scratch(home / "scratch")  # a living process; it removes what dead ones left
        assert {(one.kind, one.name) for one in lying(store, database_settings) if one.kind == "scratch"} == {
            ("scratch", mine.name)
        }
        assert prune(store, database_settings) == {"old"}
    left = {kind: {path.name for path in (home / kind).iterdir()} for kind in ("plans", "inputs", "scratch")}
    assert left == {"plans": {"young", "needed"}, "inputs": {"young", "needed"}, "scratch": {mine.name}}
    assert (outside / "model").read_text() == "mine"
    assert not list(home.rglob(".partial*"))


def test_an_object_store_is_listed_and_aged_too(tmp_path: Path) -> None:
    files = ArtifactStore("memory://prune-listing", pins=lambda sha256: ())
    assert list(files.listing()) == []
    (tmp_path / "f").write_text("far away")
    stored = files.put_file(tmp_path / "f")
    (one,) = files.listing()
    assert (one.sha256, one.size_bytes) == stored
    assert abs((one.modified - datetime.now(UTC)).total_seconds()) < 60
    assert files.modified(stored.sha256) == one.modified
    assert files.modified("ab" * 32) is None
    assert files.delete(stored.sha256)
