"""`quantplay platform-gateway` on a real database: what it prints, what it refuses, and that a rollback reaches the folder without Prometheus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from quantplay.live.release import release
from quantplay.records.traffic import PolicyRevision, ServedArm
from quantplay.settings import Settings
from quantplay.store.registry import Store

MAPPING = """
gateway: {name: inference}
namespace: models
endpoints:
  chat: {full_precision: {service: f16, port: 8000}, quantized: {service: q4, port: 8000}}
"""


@pytest.fixture
def mapping(store: Store, tmp_path: Path) -> Path:
    arms = {
        name: ServedArm(url="http://h:1/v1", model="chat", artifact=digit * 64)
        for name, digit in (("full_precision", "a"), ("quantized", "b"))
    }
    for endpoint in ("chat", "of-another-gateway"):
        told = PolicyRevision(endpoint=endpoint, package="c" * 64, salt="s", **arms)
        release(store, told, weight=0.05, actor="tester", reason="a test")
    path = tmp_path / "mapping.yaml"
    path.write_text(MAPPING, encoding="utf-8")
    return path


def words(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "quantplay.cli", "platform-gateway", *map(str, arguments)]


def environment(here: Settings) -> dict[str, str]:
    return {**os.environ, "QUANTPLAY_DATABASE_URL": str(here.database_url), "QUANTPLAY_HOME": str(here.home)}


def weights(text: str) -> list[int]:
    (rule,) = yaml.safe_load(text)["spec"]["rules"]
    return [one["weight"] for one in rule["backendRefs"]]


def test_once_prints_the_routes_of_the_endpoints_that_are_mapped(mapping: Path, database_settings: Settings) -> None:
    done = subprocess.run(
        words(mapping, "--once"), capture_output=True, text=True, env=environment(database_settings), timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert weights(done.stdout) == [950_000, 50_000]
    assert "5.00% of the requests at chat to the quantized model" in done.stderr
    assert "of-another-gateway" not in done.stdout + done.stderr


@pytest.mark.parametrize(("arguments", "word"), [
    (["--out", "routes"], "blind"),
    (["--prometheus", "http://127.0.0.1:9"], "--out FOLDER"),
    (["--prometheus", "ftp://somewhere", "--out", "routes"], "no address"),
    (["--out", "routes", "--kubectl", "--once"], "one place"),
])  # fmt: skip
def test_what_can_not_be_is_refused_before_anything_is_done(
    mapping: Path, database_settings: Settings, arguments: list[str], word: str
) -> None:
    here = environment(database_settings)
    done = subprocess.run(
        words(mapping, *arguments), capture_output=True, text=True, env=here, timeout=120, cwd=mapping.parent
    )
    assert done.returncode == 2
    assert word in done.stderr
    assert not (mapping.parent / "routes").exists()


def test_a_rollback_reaches_the_folder_while_prometheus_is_away(
    store: Store, mapping: Path, database_settings: Settings
) -> None:
    route = mapping.parent / "routes" / "chat.yaml"
    command = words(mapping, "--prometheus", "http://127.0.0.1:9", "--out", route.parent, "--every", 1)
    process = subprocess.Popen(command, env=environment(database_settings), stderr=subprocess.PIPE, text=True)

    def until(wanted: list[int]) -> None:
        ends = time.monotonic() + 60
        while not route.exists() or weights(route.read_text(encoding="utf-8")) != wanted:
            assert process.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.05)

    try:
        until([950_000, 50_000])
        time.sleep(3)  # several looks at a Prometheus that is away
        store.roll_back("chat", actor="tester", reason="bad answers")
        until([1_000_000, 0])
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[1]
    assert said.count("Prometheus does not answer") == 1
    assert "0.00% of the requests at chat to the quantized model" in said
