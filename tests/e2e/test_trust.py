"""What a run says when somebody moved the goal posts, or when a baseline is too old to be reused."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def strict(playground: Playground) -> dict[str, Any]:
    """A run that looks at the items under a gate of its own."""
    return playground.run(playground.plan("first-gate", envelope__max_slowdown=40.0))[1]


def test_a_loosened_gate_is_shown_wherever_the_verdict_is(playground: Playground, strict: dict[str, Any]) -> None:
    plan = playground.plan("second-gate", envelope__max_slowdown=50.0, gate__hardest__max_loss_rise=8.5)
    code, run = playground.run(plan)
    assert code == 0
    changes = {one["field"]: one for one in run["decisions"][-1]["gate_changes"]}
    assert changes["envelope.max_slowdown"]["now"] == "50"
    assert changes["hardest.max_loss_rise"]["before"] == "8 nats"
    assert strict["plan"] in {one["plan"] for one in changes.values()}
    folder = Path(run["package"]["path"])
    sentence = "the rise of the expected answer's loss allowed on the hardest items was 8 nats, is now 8.5 nats"
    report = (playground.home / "reports" / run["run"] / "report.html").read_text(encoding="utf-8")
    assert sentence in html.unescape(report)
    for name in ("report.html", "README.md", "MODEL_CARD.md"):
        assert sentence in html.unescape((folder / name).read_text(encoding="utf-8")).replace("\\", ""), name
    shown = playground.quantplay("show", run["run"], COLUMNS="200").stdout
    assert sentence in " ".join(shown.split())
    assert playground.quantplay("verify", str(folder)).returncode == 0


def test_a_revoked_baseline_is_measured_again(playground: Playground, strict: dict[str, Any]) -> None:
    key = next(play["key"] for play in strict["plays"] if play["play"] == "baseline")
    assert states(playground)[key] == "valid"
    without_reason = playground.quantplay("registry", "baselines", "--revoke", key[:12])
    assert without_reason.returncode == 2
    assert "--reason" in without_reason.stderr
    done = playground.quantplay("registry", "baselines", "--revoke", key[:12], "--reason", "measured beside a training")
    assert done.returncode == 0, done.stderr
    assert "revoked" in done.stdout
    _, run = playground.run(playground.folder / "first-gate.yaml")
    plays = {play["play"]: play for play in run["plays"]}
    assert plays["baseline"]["key"] != key
    assert not plays["baseline"]["reused"]
    assert plays["ptq"]["reused"]
    assert states(playground)[key] == "revoked"
    assert states(playground)[plays["baseline"]["key"]] == "valid"


def states(playground: Playground) -> dict[str, str]:
    listed = json.loads(playground.quantplay("registry", "baselines", "--json").stdout)
    return {one["baseline"]: one["state"] for one in listed["baselines"]}
