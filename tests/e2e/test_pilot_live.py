"""`quantplay pilot --live` as a user sees it: released, ramped, damaged, taken back, whole again, with a picture, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def locked(playground: Playground) -> Playground:
    """A home with a locked package of the pilot's plan, over few items."""
    code, run = playground.run(playground.plan("pilot-pass"))
    assert (code, run["outcome"]) == (0, "locked")
    return playground


def left_running(home: Path) -> list[str]:
    """Servers and gateways of this home that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if ("llama_cpp.server" in words or "quantplay.cli gateway" in words) and process.environ().get(
                "QUANTPLAY_HOME"
            ) == str(home):
                found.append(words)
        except psutil.Error:
            continue
    return found


def test_a_damaged_model_is_taken_back_and_nobody_is_left_without_an_answer(locked: Playground, tmp_path: Path) -> None:
    picture = tmp_path / "live.png"
    done = locked.quantplay("pilot", "--live", "--picture", str(picture), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    kinds = [mark["kind"] for mark in told["marks"]]
    assert kinds[0] == "release"
    assert kinds[-2:] == ["swap", "rollback"]
    assert "promotion" in kinds
    assert told["rollback"]["cause"] == "worse"
    assert "conversations on the quantized model against" in told["rollback"]["reasons"][0]
    assert told["failed"] == 0
    assert told["requests"] > 500
    assert told["share_at_the_end"] == 0
    assert told["seconds_to_rollback"] < 90
    assert told["conversations_to_rollback"] > 0
    assert picture.read_bytes().startswith(PNG)
    assert picture.stat().st_size > 40_000  # lines and words, no empty frame
    assert "judge: to " in done.stderr
    assert "judge: rolled back." in done.stderr
    assert "Traceback" not in done.stderr
    assert left_running(locked.home) == []
    traffic = json.loads(locked.quantplay("traffic", "pilot", "--json").stdout)
    assert [one["state"] for one in traffic["policies"] if one["endpoint"] == "pilot"] == ["rolled_back"]
    assert traffic["changes"][-1]["actor"] == "judge"
    (incident,) = [
        one
        for one in json.loads(locked.quantplay("registry", "incidents", "--json").stdout)["incidents"]
        if one["kind"] == "live rollback"
    ]
    assert told["rollback"]["reasons"][0] in incident["what"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_nothing_is_left_running(locked: Playground, number: signal.Signals) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "quantplay.cli", "pilot", "--live"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=locked.environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it, and so would this one
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("released at"):
            break
    assert left_running(locked.home)
    os.kill(child.pid, number)
    rest = child.stderr.read()
    child.wait(60)
    ends = time.monotonic() + 30  # killed, its children are ended by the kernel
    while left_running(locked.home) and time.monotonic() < ends:
        time.sleep(0.2)
    child.stderr.close()
    assert left_running(locked.home) == []
    assert "Traceback" not in rest
    if number != signal.SIGKILL:
        assert child.returncode == 130
        traffic = json.loads(locked.quantplay("traffic", "pilot", "--json").stdout)
        assert [one["state"] for one in traffic["policies"] if one["endpoint"] == "pilot"] == ["rolled_back"]


def test_where_its_picture_can_not_go_is_told_before_anything_starts(locked: Playground, tmp_path: Path) -> None:
    done = locked.quantplay("pilot", "--live", "--picture", str(tmp_path))
    assert done.returncode == 2
    assert "the picture can't be written there" in done.stderr
    alone = locked.quantplay("pilot", "--picture", "x.png")
    assert alone.returncode == 2
    assert "--picture belongs to --live" in alone.stderr
