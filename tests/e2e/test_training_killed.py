"""A training that is killed with its whole run: the next run goes on from its checkpoint and ends in the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from further_plans import CASE, broken_plan, write_training_texts
from signers import made_signer, owners_text

from benchmarks.playground import Playground
from quantplay.qat.checkpoint import step_of

pytestmark = pytest.mark.slow
SECONDS = 600  # at most, on a machine that does other work too
WITHOUT_A_KILL = """
import json, sys
from pathlib import Path
from quantplay import process
from quantplay.plan_file import read_plan
from quantplay.plays.pin import locate
from quantplay.plays.qat import grid_recipe
from tasks.workbench import workbench

asked = json.load(sys.stdin)
store, artifacts = workbench().store, workbench().artifacts
training, artifact = store.get_training(asked["training"]), store.get_artifact(asked["artifact"])
recipe, baseline = store.get_recipe(artifact.recipe), store.get_baseline(asked["baseline"])
paths = locate(read_plan(Path(asked["plan"])), Path(asked["plan"]).parent)
folder = Path(asked["folder"])
files = {name: str(getattr(paths, name)) for name in ("model", "calibration", "gate", "dev", "heldout")}
done = process.run("quantplay.qat.job:train_job", files | {
    "model_content": training.model, "reference": str(artifacts.local_path(baseline.reference.model)),
    "recipe": grid_recipe(recipe, artifact).body(), "artifact": artifact.body(), "data": str(paths.training),
    "data_content": training.data, "settings": training.settings.body(), "workdir": str(folder), "out": str(folder / "out"),
}, threads=training.settings.threads)
print(json.dumps([done.value, training.body()]))
"""


def short_training(playground: Playground, name: str) -> Path:
    plan = broken_plan(playground, name, CASE)
    text = plan.read_text()
    for old, new in (("steps: 8", "steps: 6"), ("checkpoint_every: 4", "checkpoint_every: 1"), ("rows: 8", "rows: 4")):
        assert old in text
        text = text.replace(old, new)
    plan.write_text(text)
    return plan


def test_the_run_after_a_kill_ends_in_the_same_weights(playground: Playground, tmp_path: Path) -> None:
    mary, owners = made_signer(tmp_path / "mary", "mary@example.com"), tmp_path / "owners.yaml"
    owners.write_text(owners_text((mary, "engineering_manager")))
    environment = playground.environment(QUANTPLAY_OWNERS=str(owners))
    command = [sys.executable, "-m", "quantplay.cli"]

    def run() -> dict[str, Any]:
        done = playground.quantplay("run", str(plan), "--json", QUANTPLAY_OWNERS=str(owners))
        return json.loads(done.stdout)

    write_training_texts(playground.folder)
    plan = short_training(playground, "killed-training")
    asked = run()
    assert asked["waits_at"] == "training", asked
    before = set(playground.home.glob("trainings/*"))
    sign = ["sign", asked["run"][:8], "--role", "engineering_manager", "--approve", "--key", str(mary.key)]
    signed = subprocess.Popen(
        command + sign, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + SECONDS
    while not any((step_of(path / "checkpoint.safetensors") or 0) >= 2 for path in all_but(before, playground.home)):
        assert signed.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(signed.pid, signal.SIGKILL)  # the child that trains dies with it
    signed.wait()

    after = run()
    keys = {play["play"]: play["key"] for play in reversed(after["plays"])}
    assert after["run"] == asked["run"]
    assert len(after["decisions"]) == 2
    assert not all_but(before, playground.home), "its checkpoint is gone once it is recorded"
    wanted = {**keys, "artifact": keys["ptq"], "plan": str(plan), "folder": str(tmp_path / "whole")}
    whole = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_KILL], env=environment, input=json.dumps(wanted), capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    again, recorded = json.loads(whole.stdout.splitlines()[-1])
    assert recorded["steps_done"] == 6
    assert recorded["weights"] == again["weights"]
    assert recorded["curve"] == again["curve"]


def all_but(before: set[Path], home: Path) -> set[Path]:
    return set(home.glob("trainings/*")) - before
