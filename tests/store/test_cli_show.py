"""`quantplay show` on a real database: the table of runs, one run, and JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from factories import made_run

from quantplay.digest import digest_of
from quantplay.records import PackageRef
from quantplay.settings import Settings
from quantplay.store.registry import open_store


def show(url: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantplay.cli", "show", *arguments]
    here = {**os.environ, "QUANTPLAY_DATABASE_URL": url, "QUANTPLAY_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, env=here, timeout=120, check=False)


def recorded(url: str, home: Path) -> UUID:
    """A locked run in the database, as the flow leaves it."""
    results = made_run("pass")
    assert results.baseline is not None
    assert results.envelope is not None
    assert results.recipe is not None
    assert results.artifact is not None
    assert results.evaluation is not None
    assert results.decision is not None
    here = Settings(
        home=home, cache=home / "cache", database_url=url, artifacts_url=(home / "artifacts").as_uri(), threads=1,
        owners=home / "owners.yaml", prefect_api_url=None,
    )  # fmt: skip
    with open_store(here) as store:
        run = store.start_run(plan=store.put_plan(results.plan), profile="internal")
        keys = {name: digest_of(name) for name in ("baseline", "envelope", "ptq", "evaluate", "gate", "lock")}
        store.put_baseline(keys["baseline"], results.baseline)
        store.put_envelope(keys["envelope"], results.envelope)
        store.put_recipe(results.recipe.digest(), results.recipe)
        store.put_artifact(keys["ptq"], results.artifact)
        store.put_evaluation(keys["evaluate"], results.evaluation)
        store.put_decision(keys["gate"], results.decision)
        package = PackageRef(run=str(run), path="/packages/pilot", manifest=digest_of("m"), archive=None, size_bytes=5)
        store.put_package(keys["lock"], package)
        for play, key in keys.items():
            store.record_play(run, play=play, key=key, reused=play == "baseline", seconds=2.5)
        for play in ("baseline", "ptq"):
            store.finish_job(store.start_job(run=run, play=play, host="rack-1", device="GPU-1"), "done")
        store.finish_run(run, outcome="locked", exit_code=0, package=keys["lock"])
    return run


def test_no_run_yet(new_database: Callable[..., str], tmp_path: Path) -> None:
    done = show(new_database(), tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("No run yet.")


def test_runs_and_one_run(new_database: Callable[..., str], tmp_path: Path) -> None:
    url = new_database()
    run = recorded(url, tmp_path)
    table = show(url, tmp_path)
    assert table.returncode == 0, table.stderr
    assert str(run)[:8] in table.stdout
    assert "locked" in table.stdout

    one = show(url, tmp_path, str(run)[:8])
    assert one.returncode == 0, one.stderr
    for part in (str(run), "multi_step", "Q4_K_M", "Verdict: pass", "locked (exit code 0)", "reused"):
        assert part in one.stdout
    assert "Devices: baseline 0.0 s, ptq 0.0 s on GPU-1 of rack-1" in one.stdout
    assert one.stdout.splitlines()[-1] == "package: /packages/pilot"

    listed = json.loads(show(url, tmp_path, "--json").stdout)["runs"]
    assert [row["run"] for row in listed] == [str(run)]
    body = json.loads(show(url, tmp_path, str(run), "--json").stdout)
    assert body["package"]["path"] == "/packages/pilot"
    assert [play["play"] for play in body["plays"]] == ["baseline", "envelope", "ptq", "evaluate", "gate", "lock"]
    assert body["decisions"][0]["verdict"] == "pass"
    assert list(body["device_hours"]) == ["baseline", "ptq"]
    assert [job["outcome"] for job in body["jobs"]] == ["done", "done"]


def test_no_such_run(new_database: Callable[..., str], tmp_path: Path) -> None:
    url = new_database()
    recorded(url, tmp_path)
    done = show(url, tmp_path, "00000000-0000")
    assert done.returncode == 2
    assert "there is no such run" in done.stderr
    assert show(url, tmp_path, "nonsense!").returncode == 2
