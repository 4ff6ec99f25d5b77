"""Past a candidate that is short: mixed precision after close, a stop with an answer, the funnel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from further_plans import close_plan

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow
PLAYS = ["calibration", "baseline", "envelope", "ptq", "evaluate", "gate"]


@pytest.fixture(scope="module")
def mixed(playground: Playground) -> dict[str, Any]:
    code, run = playground.run(close_plan(playground, "mixed", 2))
    assert (code, run["outcome"]) == (0, "locked"), run
    return run


def test_a_close_candidate_passes_after_mixed_precision_in_one_run(
    playground: Playground, mixed: dict[str, Any]
) -> None:
    assert [play["play"] for play in mixed["plays"]] == [
        *PLAYS,
        "sensitivity",
        "mix",
        "ptq",
        "evaluate",
        "gate",
        "lock",
    ]
    assert [decision["verdict"] for decision in mixed["decisions"]] == ["close", "pass"]
    assert [decision["attempt"] for decision in mixed["decisions"]] == [1, 2]
    short, mix = mixed["artifacts"]
    assert mix["size_bytes"] <= 1.6 * short["size_bytes"]
    assert mixed["left_at"] == "mixed_precision"
    assert mixed["mix"]["budget_bytes"] == int(1.6 * short["size_bytes"])
    shown = " ".join(playground.quantplay("show", mixed["run"][:8]).stdout.split())
    assert "Passed at play 5, mixed precision, after look 2 of 2" in shown


def test_its_package_tells_the_whole_way_verifies_and_replays(playground: Playground, mixed: dict[str, Any]) -> None:
    folder = Path(mixed["package"]["path"])
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["tensor_types"]
    assert json.loads((folder / "mix.json").read_text())["name"] == mixed["mix"]["name"]
    assert json.loads((folder / "sensitivity.json").read_text())["groups"]
    assert len(json.loads((folder / "attempts.json").read_text())) == 2
    assert "play 5, mixed precision" in (folder / "README.md").read_text()
    verified = playground.quantplay("verify", str(folder))
    assert verified.returncode == 0, verified.stdout
    replayed = playground.quantplay("replay", str(folder), "--json")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_without_another_look_the_run_stops_with_an_answer(playground: Playground, mixed: dict[str, Any]) -> None:
    code, run = playground.run(close_plan(playground, "stops", 1))
    assert (code, run["outcome"], run["left_at"]) == (11, "close", "ptq")
    found = {one["kind"]: one for one in run["recommendations"]}
    assert set(found) == {"mixed precision", "larger type", "training"}
    assert yaml.safe_load(found["mixed precision"]["plan_lines"]) == {"gate": {"attempts": 2}}
    (name,) = yaml.safe_load(found["larger type"]["plan_lines"])["envelope"]["types"]
    assert name != "TQ1_0"
    shown = " ".join(playground.quantplay("show", run["run"][:8]).stdout.split())
    assert "What would be viable instead:" in shown
    report = (playground.home / "reports" / run["run"] / "report.html").read_text()
    assert "What would be viable instead" in report
    assert found["larger type"]["what"] in report


def test_the_funnel_counts_where_models_left(playground: Playground, mixed: dict[str, Any]) -> None:
    rows = {
        row["stage"]: row for row in json.loads(playground.quantplay("registry", "funnel", "--json").stdout)["funnel"]
    }
    assert rows["mixed_precision"]["runs_left"]["locked"] >= 1
    assert rows["ptq"]["runs_entered"] >= rows["mixed_precision"]["runs_entered"] >= 1
    assert rows["envelope"]["models_entered"] >= 1
    table = playground.quantplay("registry", "funnel").stdout
    assert "mixed precision" in table
    assert "locked" in table
