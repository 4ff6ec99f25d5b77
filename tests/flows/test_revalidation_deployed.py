"""On the platform: a machine that reports another stack starts a re-validation, and every locked package becomes a job of the device's worker."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.deployed_platform import DeployedPlatform
from benchmarks.faulty_stacks import other_version


def runs_of(platform: DeployedPlatform, flow: str) -> list[Any]:
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with platform.client() as client:
        return client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])))


def jobs_of(platform: DeployedPlatform, run: Any) -> list[Any]:
    """What this run sent: a worker that starts may have told of another change meanwhile."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

    with platform.client() as client:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        )


def started_by_event(platform: DeployedPlatform, after: datetime, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = [
            run for run in runs_of(platform, "revalidate")
            if run.parameters.get("reason") == "stack.upgraded" and run.created >= after
        ]  # fmt: skip
        if found:
            return found[0]
        time.sleep(0.5)
    raise AssertionError(f"no run after {seconds} s\n{platform.logs()}")


def test_a_stack_that_changed_has_every_package_measured_again(platform: DeployedPlatform, tmp_path: Path) -> None:
    watch = ("doctor", "--watch", "--once", "--json")
    assert platform.quantplay(*watch).returncode == 0
    asked = datetime.now(UTC)
    told = platform.quantplay(*watch, **other_version(tmp_path / "other", "safetensors"))
    assert json.loads(told.stdout)["told"] == platform.api_url, told.stderr

    run = started_by_event(platform, asked)
    assert run.parameters["only_if_changed"] is True
    assert run.work_queue_name == "revalidation"
    ended = platform.wait(run.id)
    assert ended.state is not None
    assert ended.state.name in ("Confirmed", "Stale", "Regressed"), ended.state.message

    packages = json.loads(platform.quantplay("registry", "--json").stdout)["packages"]
    jobs = jobs_of(platform, run)
    assert {job.parameters["package"] for job in jobs} == {one["package"] for one in packages}
    assert {(job.work_pool_name, job.work_queue_name) for job in jobs} <= {("gpu", "revalidation")}
    assert {job.state.type.value for job in jobs} <= {"COMPLETED"}
