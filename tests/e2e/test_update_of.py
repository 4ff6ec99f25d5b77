"""A model update: the pilot with slightly other weights, under the gate of a run that was locked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.playground import PILOT, Playground

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def locked(playground: Playground) -> dict[str, Any]:
    code, run = playground.run(playground.plan("passes"))
    assert code == 0, run
    return run


@pytest.fixture(scope="module")
def newer(playground: Playground) -> Path:
    """The pilot's model with noise of a thousandth of each tensor's spread, as a further training step might leave it."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    folder = playground.folder / "model-2"
    shutil.copytree(PILOT / "model", folder)
    generator = np.random.default_rng(0)
    for file in folder.glob("*.safetensors"):
        noisy = {
            name: weights + (1e-3 * weights.std() * generator.standard_normal(weights.shape)).astype(weights.dtype)
            for name, weights in load_file(file).items()
        }
        save_file(noisy, file, metadata={"format": "pt"})
    return folder


def test_new_weights_run_under_the_locked_gate_and_are_shown_beside_the_old(
    playground: Playground, locked: dict[str, Any], newer: Path
) -> None:
    done = playground.quantplay("run", "--update-of", locked["run"][:8], "--model", str(newer), "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert run["outcome"] == "locked"
    assert run["updates"]["run"] == locked["run"]
    assert run["updates"]["type"] == locked["artifacts"][-1]["type"] == run["artifacts"][-1]["type"]
    assert [one["baseline"] for one in run["updates"]["slices"]] == [
        one["baseline"] for one in locked["decisions"][-1]["slices"]
    ]
    assert run["decisions"][-1]["gate"] == locked["decisions"][-1]["gate"]
    assert "gate_changes" not in run["decisions"][-1], "the same gate, and nobody has looked at this model before"
    reused = {play["play"]: play["reused"] for play in run["plays"]}
    assert not any(reused[play] for play in ("baseline", "ptq", "evaluate", "gate"))

    plan = playground.folder / f"passes.update-{locked['run'][:8]}.yaml"
    assert f"updates: {locked['run']}" in plan.read_text()
    assert playground.quantplay("verify", run["package"]["path"]).returncode == 0
    package = Path(run["package"]["path"])
    assert json.loads((package / "update.json").read_bytes())["manifest"] == locked["package"]["manifest"]
    assert "locked Q4_K_M under this very envelope, so it is tried first" in (package / "envelope.json").read_text()
    shown = playground.quantplay("show", run["run"][:8]).stdout
    assert "Then and now" in shown
    assert f"updates run {locked['run'][:8]}" in shown
    assert f"Updated by {run['run'][:8]}" in playground.quantplay("show", locked["run"][:8]).stdout


def test_everything_that_differs_is_one_error_and_nothing_is_run(
    playground: Playground, locked: dict[str, Any], newer: Path
) -> None:
    plan = playground.plan("loosened", model={"source": str(newer)}, gate__attempts=3, envelope__batch=2, seed=7)
    with (playground.folder / "calibration.jsonl").open("a") as file:
        before = file.tell()
        file.write('{"id": "one-more", "text": "Where is order 12?"}\n')
    try:
        done = playground.quantplay("run", str(plan), "--update-of", locked["run"][:8], "--json")
    finally:
        with (playground.folder / "calibration.jsonl").open("r+") as file:
            file.truncate(before)
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert {fault["where"] for fault in error["faults"]} == {
        "gate.attempts",
        "envelope.batch",
        "seed",
        "calibration files",
    }
    assert "another model" in error["allowed"]
    assert not list(playground.folder.glob("loosened.update-*"))


def test_a_run_that_never_passed_its_gate_has_nothing_to_update(
    playground: Playground, locked: dict[str, Any], newer: Path
) -> None:
    code, missed = playground.run(playground.plan("too-small", envelope__max_artifact_mib=0.5))
    assert code == 13
    done = playground.quantplay("run", "--update-of", missed["run"][:8], "--model", str(newer), "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert (error["value"], error["allowed"]) == ("envelope_missed", "locked")
