"""A locked package measured again through the command line: harmless changes, faults, incidents, and the watch over the stack."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faulty_stacks import other_version, patched
from benchmarks.playground import Playground
from benchmarks.revalidation_faults import CACHE_TYPE, Q4_0, flip_bit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package(playground: Playground) -> str:
    """Key of a locked package."""
    code, run = playground.run(playground.plan("passes"))
    assert code == 0, run
    (found,) = [one["package"] for one in registry(playground)["packages"] if one["name"] == "passes"]
    return found


@pytest.fixture(scope="module")
def without_the_plan(playground: Playground, package: str) -> Iterator[None]:
    """The plan and its files are on no disk any more: database and artifact store are all there is."""
    away = playground.folder.with_name("away")
    playground.folder.rename(away)
    yield
    away.rename(playground.folder)


def registry(playground: Playground, *more: str, **environment: str) -> Any:
    done = playground.quantplay("registry", *more, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def revalidate(playground: Playground, package: str, *more: str, **environment: str) -> tuple[int, dict[str, Any]]:
    done = playground.quantplay("revalidate", package[:12], *more, "--json", **environment)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["packages"][0]


def api(playground: Playground, path: str, body: object) -> Any:
    url = json.loads((playground.home / "prefect" / "server.json").read_text())["api_url"]
    data, headers = json.dumps(body).encode(), {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}{path}", data=data, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def events(playground: Playground, name: str, seconds: float = 20, **told: str) -> list[dict[str, Any]]:
    """Those whose payload has what is `told`. The server writes events down a moment after it took them."""
    deadline = time.monotonic() + seconds
    while True:
        listed = api(playground, "/events/filter", {"filter": {"event": {"name": [name]}}})["events"]
        found = [one for one in listed if told.items() <= one["payload"].items()]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def test_what_was_just_locked_is_confirmed_and_a_stack_that_changed_makes_it_stale(
    playground: Playground, package: str, tmp_path: Path
) -> None:
    (found,) = [one for one in registry(playground)["packages"] if one["package"] == package]
    assert (found["status"], found["revalidation"], found["incident"]) == ("confirmed", None, None)
    changed = other_version(tmp_path / "other", "safetensors")
    (found,) = [one for one in registry(playground, **changed)["packages"] if one["package"] == package]
    assert found["status"] == "stale"
    assert "safetensors" in found["why"]


def test_a_harmless_upgrade_is_confirmed_named_and_remembered(
    playground: Playground, package: str, without_the_plan: None, tmp_path: Path
) -> None:
    changed = other_version(tmp_path / "other", "safetensors")
    code, found = revalidate(playground, package, **changed)
    assert (code, found["status"]) == (0, "confirmed"), found
    assert [one["what"] for one in found["record"]["changes"]] == ["safetensors"]
    assert (found["record"]["responses_changed"], found["record"]["against_baseline"]) == (0, "pass")
    (now,) = [one for one in registry(playground, **changed)["packages"] if one["package"] == package]
    assert (now["status"], now["revalidation"]) == ("confirmed", found["revalidation"])
    code, again = revalidate(playground, package, "--only-if-changed", **changed)
    assert (code, again["revalidation"]) == (0, found["revalidation"])


def test_another_cache_type_with_the_same_weights_is_not_confirmed(
    playground: Playground, package: str, without_the_plan: None, tmp_path: Path
) -> None:
    fault = patched(tmp_path / "fault", "quantplay.engines.llama_cpp", CACHE_TYPE.format(kind=Q4_0))
    code, found = revalidate(playground, package, **fault)
    assert (code, found["status"]) in ((20, "stale"), (21, "regressed"))
    assert any("f16 then, q4_0 today" in reason for reason in found["record"]["reasons"])


def test_a_bit_of_the_stored_file_is_a_regression_with_an_incident_that_somebody_closes(
    playground: Playground, package: str, without_the_plan: None
) -> None:
    sha256 = revalidated_artifact(playground, package)
    stored = next((playground.home / "artifacts").rglob(sha256))
    whole = stored.read_bytes()
    flip_bit(stored)
    code, found = revalidate(playground, package)
    stored.unlink()
    stored.write_bytes(whole)
    assert (code, found["status"]) == (21, "regressed")
    assert "no longer the one that was locked" in found["why"]
    listed = registry(playground, "incidents")["incidents"]
    (incident,) = [one for one in listed if one["revalidation"] == found["revalidation"]]
    assert (incident["package"], incident["open"]) == (package, True)
    (event,) = events(playground, "quantplay.regression", incident=incident["id"])
    assert event["resource"]["prefect.resource.id"] == f"quantplay.package.{package}"
    assert playground.quantplay("registry", "incidents", "--close", incident["id"][:8]).returncode == 2
    closing = ("incidents", "--close", incident["id"][:8], "--reason", "restored from a copy")
    without = playground.quantplay("registry", *closing)
    assert without.returncode == 2
    assert "lesson" in without.stderr
    learned = ("--lesson", "disks lie", "--folded-into", "documentation", "--where", "docs/store.md")
    listed = registry(playground, *closing, *learned)["incidents"]
    (closed,) = [one for one in listed if one["id"] == incident["id"]]
    assert (closed["open"], closed["resolution"], closed["lesson"]) == (False, "restored from a copy", "disks lie")
    (lesson,) = registry(playground, "lessons", "disks", "--model", "passes")["lessons"]
    assert (lesson["package"], lesson["folded_where"]) == (package, "docs/store.md")


def revalidated_artifact(playground: Playground, package: str) -> str:
    (found,) = [one for one in registry(playground)["packages"] if one["package"] == package]
    assert found["revalidation"] is not None
    manifest = next((playground.home / "packages").glob(f"*{package[:12]}/artifact.json"))
    return str(json.loads(manifest.read_text(encoding="utf-8"))["sha256"])


def test_an_evaluation_file_that_is_gone_leaves_it_stale_and_is_named(
    playground: Playground, package: str, without_the_plan: None
) -> None:
    inputs = next((playground.home / "packages").glob(f"*{package[:12]}/inputs.json"))
    files = json.loads(inputs.read_text(encoding="utf-8"))["evaluation"]["files"]
    sha256 = next(file["sha256"] for file in files if file["path"] == "gate.jsonl")
    stored = next((playground.home / "artifacts").rglob(sha256))
    stored.rename(stored.with_name("away"))
    for copy in (playground.home / "inputs").rglob("gate.jsonl"):
        copy.unlink()
    code, found = revalidate(playground, package)
    stored.with_name("away").rename(stored)
    assert (code, found["status"]) == (20, "stale")
    assert "gate.jsonl" in found["why"]


def test_the_flow_run_is_named_by_its_worst_status(playground: Playground, package: str) -> None:
    found = api(playground, "/flow_runs/filter", {"flows": {"name": {"any_": ["revalidate"]}}})
    assert {run["state"]["name"] for run in found} >= {"Confirmed", "Regressed", "Stale"}
    assert {run["state"]["type"] for run in found} == {"COMPLETED"}


def test_the_watch_says_what_changed_and_tells_the_server_once(
    playground: Playground, package: str, tmp_path: Path
) -> None:
    def look(**environment: str) -> dict[str, Any]:
        done = playground.quantplay("doctor", "--watch", "--once", "--json", **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert look()["first"]
    assert not look()["changed"]
    changed = other_version(tmp_path / "other", "safetensors")
    found = look(**changed)
    assert [(one["what"], one["now"]) for one in found["changes"]] == [("safetensors", "9999")]
    assert found["told"] is not None
    assert not look(**changed)["changed"]
    (event,) = events(playground, "stack.upgraded")
    assert event["payload"]["changes"][0]["what"] == "safetensors"
    assert event["resource"]["prefect.resource.id"].startswith("quantplay.host.")
