"""`quantplay up` makes what the platform team sees and runs, once, and completes what is missing; workers stop in two steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from uuid import UUID

import pytest

from benchmarks.deployed_platform import DeployedPlatform
from flows.deployed import declared
from quantplay.settings import read_settings
from quantplay.store.registry import open_store

pytestmark = pytest.mark.slow


def test_a_second_up_changes_nothing(platform: DeployedPlatform) -> None:
    before = states(platform)
    up = brought_up(platform)
    assert up["changed"] == []
    assert states(platform) == before
    for pool in up["platform"]["pools"]:
        assert list(pool["queues"].items()) == [("interactive", 1), ("revalidation", 2), ("batch", 3)]
        assert len(pool["workers"]) == 1
    assert {pool["name"]: pool["limit"] for pool in up["platform"]["pools"]} == {"cpu": 15, "gpu": 1}
    with platform.client() as client:
        room = {queue.name: queue.concurrency_limit for queue in client.read_work_queues(work_pool_name="cpu")}
    assert room == {"interactive": 6, "revalidation": 5, "batch": 4}


def test_a_deleted_job_is_missed_by_name_and_made_again(platform: DeployedPlatform) -> None:
    """Five deployments are called `gpu`; the other four do not stand for the one that is gone."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.jobs import find_or_send
    from quantplay.errors import InputError

    with platform.client() as client:
        client.delete_deployment(client.read_deployment_by_name("ptq-job/gpu").id)
    with temporary_settings({PREFECT_API_URL: platform.api_url}), pytest.raises(InputError, match="quantplay up"):
        find_or_send("ptq-job/gpu", {}, "a job nobody can do", queue="interactive")
    assert brought_up(platform)["changed"] == [f"{len(declared())} deployments"]
    with platform.client() as client:
        assert client.read_deployment_by_name("ptq-job/gpu").work_pool_name == "gpu"


def states(platform: DeployedPlatform) -> list[tuple]:
    """Everything `up` makes on the server, with the moment of its last change."""
    with platform.client() as client:
        return [
            *((pool.id, pool.concurrency_limit) for pool in client.read_work_pools()),
            *((one.id, one.updated, one.version) for one in client.read_deployments()),
            *((one.id, one.enabled) for one in client.read_automations()),
        ]


def brought_up(platform: DeployedPlatform) -> dict:
    done = platform.quantplay("up", "--json")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def worker_of(platform: DeployedPlatform, pool: str) -> int:
    """Process id of this machine's worker."""
    (note,) = (platform.home / "prefect" / "workers").glob(f"*-{pool}.json")
    return json.loads(note.read_text())["pid"]


def ended(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_worker_lets_its_runs_finish_and_ends_them_when_told_twice(platform: DeployedPlatform) -> None:
    worker = worker_of(platform, "cpu")
    run = platform.start("quantize/plan", plan=str(platform.playground.plan("ended")))
    platform.wait(run, lambda run: run.state is not None and run.state.is_running())
    os.kill(worker, signal.SIGTERM)
    assert not ended(worker, 2), "it waits for the run"
    os.kill(worker, signal.SIGTERM)
    state = platform.wait(run, seconds=30).state
    assert state is not None
    assert state.is_crashed()
    assert ended(worker, 30)
    for job in jobs_of(platform, run):  # no job of this run shall have the device when the next test begins
        stop(platform, job)


def jobs_of(platform: DeployedPlatform, run: UUID) -> list[UUID]:
    """What a run sent on and has not ended."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

    wanted = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
    with platform.client() as client:
        found = client.read_flow_runs(flow_run_filter=wanted)
    return [job.id for job in found if job.state is not None and not job.state.is_final()]


def stop(platform: DeployedPlatform, run: UUID) -> None:
    from prefect.states import Cancelling

    with platform.client() as client:
        client.set_flow_run_state(run, Cancelling())
    platform.wait(run, seconds=60)


def test_two_at_once_complete_what_is_missing_and_do_it_once(platform: DeployedPlatform) -> None:
    os.kill(worker_of(platform, "gpu"), signal.SIGKILL)
    command = [sys.executable, "-m", "quantplay.cli", "up", "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, env=platform.env, text=True) for _ in range(2)]
    changed = [json.loads(up.communicate(timeout=240)[0])["changed"] for up in both]
    assert sorted(changed, key=len)[0] == []
    missing = sorted(changed, key=len)[1]
    assert all(one.startswith("worker ") for one in missing), missing
    assert any(one.endswith("-gpu") for one in missing)
    doctor = json.loads(platform.quantplay("doctor", "--json").stdout)["findings"]
    assert {one["state"] for one in doctor if one["name"] in ("pool cpu", "pool gpu", "deployments")} == {"good"}


def test_the_pool_of_devices_is_as_wide_as_they_are_many(
    platform: DeployedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTPLAY_HOME", str(platform.home))
    with open_store(read_settings()) as store:
        hardware = store.list_workers("gpu")[0].hardware
        store.declare_worker(name="there", pool="gpu", host="there", device="cpu", hardware=hardware, chip=hardware.cpu)
        try:
            assert brought_up(platform)["changed"] == ["limit of work pool gpu: 2"]
        finally:
            store.worker_stopped("there")
    assert brought_up(platform)["changed"] == ["limit of work pool gpu: 1"]


def test_a_second_worker_of_a_name_is_refused(platform: DeployedPlatform) -> None:
    (note,) = (platform.home / "prefect" / "workers").glob("*-gpu.json")
    refused = platform.quantplay("worker", "--pool", "gpu", "--name", note.stem)
    assert refused.returncode == 2
    assert "--name" in refused.stderr


def test_a_pool_nobody_has_is_refused(platform: DeployedPlatform) -> None:
    refused = platform.quantplay("worker", "--pool", "tpu")
    assert refused.returncode == 2
    assert "cpu or gpu" in refused.stderr
