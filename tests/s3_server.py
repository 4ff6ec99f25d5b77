"""A real S3 server on loopback (moto's), in a process of its own, with a bucket; credentials go through the environment."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import s3fs

BUCKET = "artifacts"


@dataclass(frozen=True, kw_only=True)
class S3Server:
    endpoint: str

    @property
    def env(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "AWS_ACCESS_KEY_ID": "a-key",
            "AWS_SECRET_ACCESS_KEY": "a-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def check_credentials(self, check: bool) -> None:
        """moto knows no user of ours: when it checks, every key is a wrong one."""
        self.ask("/moto-api/reset-auth", b"0" if check else b"inf")

    def ask(self, path: str, body: bytes | None = None, method: str | None = None) -> bytes:
        headers = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(self.endpoint + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
    )  # fmt: skip
    server = S3Server(endpoint=f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                server.ask("/moto-api/")
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, "moto's server did not start"
                assert time.monotonic() < deadline
                time.sleep(0.1)
        server.ask(f"/{BUCKET}", method="PUT")
        s3fs.S3FileSystem.clear_instance_cache()  # a file system made before remembers another server
        yield server
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        process.terminate()
        process.wait(10)
