"""Release, look and roll back as a user does: the command line, a real database, servers that list their models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest
from factories import made_package

from quantplay.handoff.pack import write_package
from quantplay.records import PackageRef
from quantplay.store.registry import open_store


class Lists(BaseHTTPRequestHandler):
    """An OpenAI-compatible server, as far as a release asks it: it lists what it serves."""

    def do_GET(self) -> None:
        names = ["one", "two"] if self.path.startswith("/both/") else ["only"]
        body = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Lists)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> PackageRef:
    return write_package(made_package(tmp_path_factory.mktemp("run")), tmp_path_factory.mktemp("packed") / "package")


def quantplay(*arguments: object, database: str, home: Path) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    here = {**inherited, "QUANTPLAY_HOME": str(home), "QUANTPLAY_DATABASE_URL": database, "COLUMNS": "160"}
    command = [sys.executable, "-m", "quantplay.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=here, timeout=240, check=False)


def test_from_a_package_to_a_canary_and_back(
    new_database, make_settings, package: PackageRef, server_url: str, tmp_path: Path
) -> None:
    database = new_database()
    arms = ["--full-precision", f"{server_url}/v1", "--quantized", f"{server_url}/v1#only"]

    def done(*words: object, code: int = 0) -> str:
        ended = quantplay(*words, database=database, home=tmp_path)
        assert ended.returncode == code, ended.stderr + ended.stdout
        return ended.stdout + ended.stderr

    refused = done("release", package.path, "--endpoint", "chat", *arms, code=2)
    assert "may not be released" in refused  # profile internal, and nobody's signature
    assert "no such endpoint" in done("rollback", "chat", code=2)

    said = done("release", package.path, "--endpoint", "chat", *arms, "--internal", "--weight", 5)
    assert "revision 1 is a canary, 5 % of conversations" in said
    assert "quantplay rollback chat" in said
    told = json.loads(done("traffic", "chat", "--json"))
    (policy,) = told["policies"]
    assert (policy["state"], policy["weight"], policy["quantized"]["model"]) == ("canary", 0.05, "only")
    assert policy["full_precision"]["artifact"] != policy["quantized"]["artifact"]

    with open_store(make_settings(database)) as store:
        store.gateway_is_there(str(UUID(int=1)), "host 7", {"chat": policy["version"]})
        store.gateway_is_there(str(UUID(int=2)), "host 8", {})
    lines = {name: line for line in done("traffic").splitlines() for name in ("host 7", "host 8") if name in line}
    assert ["chat" in lines[name] for name in ("host 7", "host 8")] == [False, True]  # the second is on an old policy

    assert "revision 1 is rolled back" in done("rollback", "chat", "--reason", "odd answers")
    assert "rolled back already" in done("rollback", "chat")
    history = done("traffic", "chat")
    assert "canary, 5 %" in history
    assert "odd answers" in history

    assert "revision 2 is a canary" in done("release", package.path, "--endpoint", "chat", *arms, "--internal")


@pytest.mark.parametrize(
    ("full_precision", "code", "said"),
    [
        ("{url}/both/v1", 2, "serves several models"),
        ("{url}/v1#other", 2, "does not serve this model"),
        ("{url}", 2, "no address of an OpenAI-compatible server"),
        ("http://127.0.0.1:1/v1", 3, "does not say which models it serves"),
    ],
)
def test_an_arm_that_can_not_serve_is_refused_before_anything_is_written(
    new_database, package: PackageRef, server_url: str, tmp_path: Path, full_precision: str, code: int, said: str
) -> None:  # fmt: skip
    database, address = new_database(), full_precision.format(url=server_url)
    ended = quantplay(
        "release", package.path, "--endpoint", "chat", "--internal", "--full-precision", address, "--quantized", f"{server_url}/v1",
        database=database, home=tmp_path,
    )  # fmt: skip
    assert (ended.returncode, said in ended.stderr) == (code, True), ended.stderr
    assert (
        quantplay(
            "traffic",
            "chat",
            database=database,
            home=tmp_path,
        ).stdout.count("canary")
        == 0
    )
