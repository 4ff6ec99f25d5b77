"""A plan in a bucket, fetched from a real S3 server on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import BUCKET, S3Server, s3_server

from benchmarks.playground import PILOT, make_playground
from quantplay import settings as settings_module
from quantplay.errors import InputError, ServiceUnavailable
from quantplay.plan_file import read_plan
from quantplay.plays.check import check_plan
from tasks.plans import local_plan

PLAN = f"s3://{BUCKET}/support models/in-a-bucket.yaml"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The bucket holds the pilot's model, a few of its items and a plan."""
    source = make_playground(tmp_path_factory.mktemp("source"))
    source.plan("in-a-bucket", model__source="model")
    with s3_server() as there, pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTPLAY_HOME", str(tmp_path_factory.mktemp("home")))
        for name, value in there.env.items():
            patch.setenv(name, value)
        settings_module.settings.cache_clear()
        bucket = new_client()
        for folder, target in ((source.folder, "support models"), (PILOT / "model", "support models/model")):
            for path in folder.iterdir():
                bucket.pipe_file(f"{BUCKET}/{target}/{path.name}", path.read_bytes())
        yield there
    settings_module.settings.cache_clear()


def new_client():
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    return s3fs.S3FileSystem()


def test_a_plan_in_a_bucket_is_fetched_once_with_all_it_names(server: S3Server) -> None:
    path = local_plan(PLAN)
    assert check_plan(path).good
    assert read_plan(path).name == "in-a-bucket"
    weights = path.parent / "model" / "model.safetensors"
    assert weights.read_bytes() == (PILOT / "model" / "model.safetensors").read_bytes()
    before = weights.stat()
    assert local_plan(PLAN) == path
    assert weights.stat() == before, "nothing was fetched twice"
    new_client().pipe_file(f"{BUCKET}/support models/heldout.jsonl", b'{"id": "h", "text": "something else now"}\n')
    assert local_plan(PLAN) != path, "other bytes, another folder: a run keeps its own"


@pytest.mark.parametrize("address", [f"s3://{BUCKET}/nowhere/plan.yaml", "s3://no-such-bucket/plan.yaml"])
def test_a_missing_file_or_bucket_is_told(server: S3Server, address: str) -> None:
    with pytest.raises(InputError, match="no such file") as caught:
        local_plan(address)
    assert address in str(caught.value)


def test_no_access_no_credentials_and_no_server_are_told_apart(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.check_credentials(True)
    try:
        new_client()
        with pytest.raises(InputError, match="no access"):
            local_plan(PLAN)
    finally:
        server.check_credentials(False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with monkeypatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        new_client()
        with pytest.raises(InputError, match="no credentials"):
            local_plan(PLAN)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    new_client()
    with pytest.raises(ServiceUnavailable, match="can't be read"):
        local_plan(PLAN)


def test_the_command_line_refuses_an_address_before_anything_starts(server: S3Server, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "quantplay.cli", "run", f"s3://{BUCKET}/nowhere/plan.yaml"],
        capture_output=True, text=True, timeout=120, env={**os.environ, "QUANTPLAY_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"s3://{BUCKET}/nowhere/plan.yaml" in done.stderr
    assert not (tmp_path / "prefect").exists()
