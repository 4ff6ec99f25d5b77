"""A package becomes a version of a model on a real MLflow server: once, with its digests, and not when it got worse.

Needs MLflow's server, which is in no lock: an environment with `mlflow` and this project runs it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from locked_models import lock_model

from quantplay.errors import IntegrityError, ServiceUnavailable
from quantplay.settings import settings
from quantplay.store.registry import Store, open_store

pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/db.sqlite",
        "--default-artifact-root",
        str(folder / "files"),
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(url, folder / "log")
            yield url
        finally:
            process.terminate()


def wait_for(url: str, log: Path) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.fixture
def here(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("QUANTPLAY_DATABASE_URL", store.engine.url.set(drivername="postgresql").render_as_string(False))
    settings.cache_clear()
    yield store
    settings.cache_clear()


def test_a_package_is_pushed_once_with_its_digests(here: Store, mlflow_server: str) -> None:
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

    from quantplay.cli.registry_push import command

    key = lock_model(here, "desk", drop=1.25)
    entry = here.package_named(key)
    assert command(key[:12], mlflow_server) == 0
    assert command(key, mlflow_server, json=True) == 0
    client = MlflowClient(tracking_uri=mlflow_server, registry_uri=mlflow_server)
    (version,) = client.search_model_versions("name = 'desk'")
    assert version.source == f"quantplay:/packages/{key}"
    assert version.tags["quantplay.path"] == entry.path
    assert version.tags["quantplay.package"] == key
    assert version.tags["sha256"] == entry.sha256
    assert version.tags["base_model_relation"] == "quantized"
    assert version.tags["drop.slice-0"] == "1.25 points"
    assert [event.body["model"] for event in here.events(kind="package.pushed", subject=key)] == ["desk"]
    second = lock_model(here, "desk", kind="Q8_0")
    assert command(second, mlflow_server) == 0
    assert {one.version for one in client.search_model_versions("name = 'desk'")} in ({1, 2}, {"1", "2"})
    with open_store(settings()) as store:
        assert store.verify_events() == ()


def test_a_package_that_got_worse_stays_here(here: Store, mlflow_server: str) -> None:
    from quantplay.cli.registry_push import command

    key = lock_model(here, "worse")
    here.open_incident(kind="regression", package=key, what="it is wrong now")
    with pytest.raises(IntegrityError, match="got worse"):
        command(key, mlflow_server)


def test_a_server_that_is_away_is_told(here: Store) -> None:
    from quantplay.cli.registry_push import command

    with pytest.raises(ServiceUnavailable, match="MLflow"):
        command(lock_model(here, "desk"), "http://user:secret@127.0.0.1:9")
