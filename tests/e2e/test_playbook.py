"""What a user sees of whole runs."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def locked(playground: Playground) -> tuple[int, dict[str, Any]]:
    return playground.run(playground.plan("passes"))


def test_a_run_ends_locked_with_a_package_that_verifies(
    playground: Playground, locked: tuple[int, dict[str, Any]]
) -> None:
    code, run = locked
    assert (code, run["outcome"]) == (0, "locked")
    verified = playground.quantplay("verify", run["package"]["path"])
    assert verified.returncode == 0, verified.stdout
    archive = playground.quantplay("verify", run["package"]["archive"])
    assert archive.returncode == 0, archive.stdout


def test_the_last_line_for_people_is_the_package(playground: Playground, locked: tuple[int, dict[str, Any]]) -> None:
    done = playground.quantplay("run", str(playground.folder / "passes.yaml"))
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"package: {locked[1]['package']['path']}"
    assert "Gate, attempt 1 of 1" in done.stdout


def test_a_second_run_repeats_no_play(playground: Playground, locked: tuple[int, dict[str, Any]]) -> None:
    code, again = playground.run(playground.folder / "passes.yaml")
    assert code == 0
    assert [play["play"] for play in again["plays"]] == [
        "calibration", "baseline", "envelope", "ptq", "evaluate", "gate", "lock",
    ]  # fmt: skip
    assert all(play["reused"] for play in again["plays"])
    assert [play["key"] for play in again["plays"]] == [play["key"] for play in locked[1]["plays"]]


def test_prefect_shows_the_run_its_outcome_and_its_artifacts(
    playground: Playground, locked: tuple[int, dict[str, Any]]
) -> None:
    api = json.loads((playground.home / "prefect" / "server.json").read_text())["api_url"]
    flow_run = get(f"{api}/flow_runs/{locked[1]['prefect_flow_run_id']}")
    assert (flow_run["state"]["type"], flow_run["state"]["name"]) == ("COMPLETED", "Locked")
    artifacts = post(f"{api}/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run["id"]]}}})
    keys = {artifact["key"] for artifact in artifacts if artifact["key"]}
    assert keys >= {"calibration", "baseline", "envelope", "gate", "summary", "package"}
    assert keys >= {"quality", "divergence", "speed", "memory"}
    gate = next(artifact for artifact in artifacts if artifact["key"] == "gate")
    assert "Adds up the items of an order" in gate["data"]


def test_another_gate_reuses_the_measurements_and_its_verdict_ends_the_run(
    playground: Playground, locked: tuple[int, dict[str, Any]]
) -> None:
    plan = playground.plan("too-strict", gate__attempts=1)
    text = plan.read_text().replace("max_drop: 60.0", "max_drop: 5.0")
    plan.write_text(text)
    code, run = playground.run(plan)
    assert (code, run["outcome"]) == (14, "inconclusive")
    assert run["package"] is None
    assert {play["play"]: play["reused"] for play in run["plays"]} == {
        "calibration": True, "baseline": True, "envelope": True, "ptq": True, "evaluate": True, "gate": False,
    }  # fmt: skip
    report = playground.home / "reports" / run["run"] / "report.html"
    assert "inconclusive" in report.read_text(encoding="utf-8").lower()


def test_ternary_weights_break_the_model_and_the_run_says_what_comes_next(
    playground: Playground, locked: tuple[int, dict[str, Any]]
) -> None:
    plan = playground.plan("ternary", envelope__types=["TQ1_0"])
    text = plan.read_text().replace("max_drop: 60.0", "max_drop: 2.0").replace("broken_drop: 90.0", "broken_drop: 3.0")
    plan.write_text(text)
    code, run = playground.run(plan)
    assert (code, run["outcome"]) == (12, "broken")
    assert run["decisions"][0]["next_play"] == "quantization-aware training"
    done = playground.quantplay("show", run["run"][:8])
    assert done.returncode == 0
    assert "points" in done.stdout


def test_explore_is_never_locked(playground: Playground, locked: tuple[int, dict[str, Any]]) -> None:
    code, run = playground.run(playground.plan("just-looking", profile="explore"))
    assert (code, run["outcome"], run["package"]) == (17, "explored", None)


def test_nothing_that_fits_is_an_outcome_of_its_own(playground: Playground, locked: tuple[int, dict[str, Any]]) -> None:
    code, run = playground.run(playground.plan("tiny-budget", envelope__max_artifact_mib=0.5))
    assert (code, run["outcome"]) == (13, "envelope_missed")
    assert (playground.home / "reports" / run["run"] / "report.html").is_file()


def test_a_changed_package_is_named(playground: Playground, locked: tuple[int, dict[str, Any]]) -> None:
    report = Path(locked[1]["package"]["path"]) / "report.html"
    whole = report.read_bytes()
    report.write_bytes(whole.replace(b"<", b"<", 1)[:-1] + b" ")
    try:
        verified = playground.quantplay("verify", locked[1]["package"]["path"])
        assert verified.returncode == 2
        assert "report.html" in verified.stdout + verified.stderr
    finally:
        report.write_bytes(whole)


def test_events_of_all_runs_form_one_chain(playground: Playground, locked: tuple[int, dict[str, Any]]) -> None:
    code = (
        "from quantplay.settings import settings; from quantplay.store.registry import open_store\n"
        "store = open_store(settings()); print(len(store.events()), store.verify_events())"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=playground.environment(), check=True
    )
    count, problems = done.stdout.split(maxsplit=1)
    assert int(count) > 10
    assert problems.strip() == "()"


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
