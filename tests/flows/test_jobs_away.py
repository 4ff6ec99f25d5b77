"""A worker that shares nothing with whoever sends the work but the database, the Prefect server and an S3 bucket."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3_server import BUCKET, S3Server, s3_server

from benchmarks.deployed_platform import DeployedPlatform

pytestmark = pytest.mark.slow
POOL = "away"
PLAYS = ("baseline", "envelope", "ptq", "evaluate")
SERVE = f"""
from flows.worker import Place, serve
from quantplay.settings import settings
serve(settings(), Place(name="{POOL}", pool="{POOL}", device="cpu"), print)
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as there:
        yield there


@pytest.fixture(scope="module")
def shared(platform: DeployedPlatform, s3: S3Server) -> dict[str, str]:
    """All that both sides know."""
    up = json.loads(platform.quantplay("up", "--json").stdout)
    return {
        **s3.env,
        "PREFECT_API_URL": platform.api_url,
        "QUANTPLAY_DATABASE_URL": up["database"],
        "QUANTPLAY_ARTIFACTS_URL": f"s3://{BUCKET}/team",
        "QUANTPLAY_DEVICE_LOCKS": str(platform.home / "devices"),  # it is the same processor after all
    }


@pytest.fixture
def away(platform: DeployedPlatform, shared: dict[str, str]) -> Iterator[Path]:
    """A worker with a home of its own, which it yields."""
    with own_pool(platform), tempfile.TemporaryDirectory(prefix="quantplay-away-") as folder:
        env = platform.env | shared | {"QUANTPLAY_HOME": folder, "PREFECT_HOME": f"{folder}/prefect"}
        with (platform.home / "prefect" / "away.log").open("wb") as log:
            worker = subprocess.Popen([sys.executable, "-c", SERVE], env=env, stdout=log, stderr=log)
            try:
                yield Path(folder)
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait(60)


@contextmanager
def own_pool(platform: DeployedPlatform) -> Iterator[None]:
    """A pool with deployments of the same flows."""
    from prefect.client.schemas.actions import WorkPoolCreate

    with platform.client() as client:
        template = client.read_work_pool("gpu").base_job_template
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
        made = []
        for play in PLAYS:
            known = client.read_deployment_by_name(f"{play}-job/gpu")
            made.append(
                client.create_deployment(
                    known.flow_id, POOL, work_pool_name=POOL, entrypoint=known.entrypoint,
                    parameter_openapi_schema=known.parameter_openapi_schema, pull_steps=[],
                )
            )  # fmt: skip
    try:
        yield
    finally:
        with platform.client() as client:
            for deployment in made:
                client.delete_deployment(deployment)
            client.delete_work_pool(POOL)


def test_a_run_is_measured_where_neither_its_plan_nor_its_files_are(
    platform: DeployedPlatform, shared: dict[str, str], away: Path, s3: S3Server
) -> None:
    plan = platform.playground.plan("far", envelope__types=["Q4_1"])
    done = platform.quantplay("run", str(plan), "--json", **shared, QUANTPLAY_POOL=POOL)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{platform.logs()}"
    run = json.loads(done.stdout)
    assert run["outcome"] == "locked"
    (artifact,) = run["artifacts"]
    assert {play["play"] for play in run["plays"] if not play["reused"]} >= {"ptq", "evaluate", "lock"}
    assert [job["outcome"] for job in run["jobs"]][-2:] == ["done", "done"]

    assert (away / "inputs").is_dir(), "its inputs were put together there"
    assert not (away / "artifacts").exists(), "nothing is kept there that others need"
    local = platform.home / "artifacts" / "sha256" / artifact["sha256"][:2]
    assert not list(local.glob(f"*/{artifact['sha256']}")), "only the bucket has it"
    stored = platform.playground.folder / "stored.gguf"
    code = f"import s3fs; s3fs.S3FileSystem().get_file({key_of(artifact['sha256'])!r}, {str(stored)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=platform.env | shared)
    package = Path(run["package"]["path"])
    assert any(file.read_bytes() == stored.read_bytes() for file in package.rglob("*.gguf"))
    assert platform.quantplay("verify", str(package)).returncode == 0


def key_of(sha256: str) -> str:
    return f"{BUCKET}/team/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"
