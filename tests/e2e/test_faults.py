"""Faults from outside while a run goes on: it ends with a clear error or waits, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.playground import Playground
from quantplay.store.embedded import start_embedded, stop_embedded

pytestmark = pytest.mark.slow


def start(playground: Playground, plan: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "quantplay.cli", "run", str(plan), "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=playground.environment(**environment),
    )  # fmt: skip


def test_of_two_runs_of_one_plan_one_works_and_the_other_waits(playground: Playground) -> None:
    plan = playground.plan("twice", seed=5, calibration__tokens=255)  # another test's run has done none of its plays
    playground.quantplay("check", str(plan))
    both = [start(playground, plan) for _ in range(2)]
    ended = [(process.communicate(timeout=600), process.returncode) for process in both]
    assert [code for _, code in ended] == [0, 0], ended
    runs: list[dict[str, Any]] = [json.loads(out) for (out, _), _ in ended]
    assert runs[0]["package"] == runs[1]["package"]
    plays = [{play["play"]: (play["key"], play["reused"]) for play in run["plays"]} for run in runs]
    for play, (key, reused) in plays[0].items():
        assert plays[1][play][0] == key
        assert sorted((reused, plays[1][play][1])) == [False, True], f"{play} was done once"
    assert any("waiting for another run" in messages for (_, messages), _ in ended)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 4 MiB, of which the full-precision file takes 10."""
    folder = Path(tempfile.mkdtemp(prefix="quantplay-disk-"))
    folder.chmod(0o755)
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if not done or done.returncode != 0:
        folder.rmdir()
        pytest.skip("mounting a small disk needs the right to mount a tmpfs, which this user lacks")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def test_a_full_and_a_read_only_artifact_store(playground: Playground, small_disk: Path) -> None:
    plan = playground.plan("store-faults", envelope__types=["Q8_0"])
    where = {"QUANTPLAY_ARTIFACTS_URL": f"file://{small_disk}/artifacts"}

    full = playground.quantplay("run", str(plan), **where)
    assert full.returncode == 3, full.stderr
    assert "the disk is full" in full.stderr
    assert str(small_disk) in full.stderr
    assert files(small_disk) == [], "nothing half-written"

    remount(small_disk, "ro,size=4m")
    read_only = playground.quantplay("run", str(plan), **where)
    assert read_only.returncode == 3, read_only.stderr
    assert "read-only" in read_only.stderr.lower() or "written" in read_only.stderr
    assert str(small_disk) in read_only.stderr

    remount(small_disk, "rw,size=400m")
    mended = playground.quantplay("run", str(plan), "--json", **where)
    assert mended.returncode == 0, mended.stderr
    run = json.loads(mended.stdout)
    assert playground.quantplay("verify", run["package"]["path"]).returncode == 0


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_database_that_is_gone_for_a_while_is_waited_for(playground: Playground) -> None:
    other = Path(tempfile.mkdtemp(prefix="quantplay-database-"))
    other.chmod(0o755)
    try:
        url = start_embedded(other).render_as_string(hide_password=False).replace("+psycopg", "")
        plan = playground.plan("database-gone", seed=7)
        run = start(playground, plan, QUANTPLAY_DATABASE_URL=url)
        assert run.stderr is not None
        messages: list[str] = []
        for line in run.stderr:
            messages.append(line)
            if line.split() == ["ptq", "started"]:
                break
        stop_embedded(other)
        time.sleep(12)
        start_embedded(other)
        out, rest = run.communicate(timeout=600)
        assert run.returncode == 0, "".join(messages) + rest
        assert "waiting for it" in "".join(messages) + rest
        assert json.loads(out)["outcome"] == "locked"
    finally:
        stop_embedded(other)
        shutil.rmtree(other, ignore_errors=True)
