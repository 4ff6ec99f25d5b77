"""A model behind an OpenAI-compatible server, as its users reach it: started, waited for, checked to be the one asked for, stopped.

llama.cpp's server is llama-cpp-python's, which answers one request at a time; vLLM is driven where it is installed. Both listen on
this machine only.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from quantplay import process
from quantplay.errors import ChildProcessFailed, IntegrityError, ServiceUnavailable
from quantplay.harness.server_command import Serving, command, described
from quantplay.process import Report

HOST = "127.0.0.1"
START_SECONDS = 900.0  # a large model is read from the disk, and vLLM compiles
STOP_SECONDS = 20.0
POLL_SECONDS = 0.2
ADDRESS_TAKEN = ("address already in use", "Errno 98", "EADDRINUSE")


@dataclass(frozen=True, kw_only=True)
class Server:
    """One that runs. `fingerprint` is what can change its answers or its speed: version and flags, no port and no path."""

    url: str  # of the API, ends with /v1
    alias: str  # the name under which this very process serves this very model
    pid: int
    runtime: str
    fingerprint: dict[str, str]


@contextlib.contextmanager
def served(
    serving: Serving, *, alias: str | None = None, start_seconds: float = START_SECONDS, on_progress: Report | None = None
) -> Iterator[Server]:  # fmt: skip
    """A server of `serving.model` for as long as the block runs.

    The alias holds a random part, unless one is given, so a stranger that took the port can't be mistaken for it. Raises MissingDependency where
    the runtime is not installed, ChildProcessFailed where it ends, also under the requests of the block, ServiceUnavailable where
    it does not come up in `start_seconds`, IntegrityError where another model answers.
    """
    fingerprint = described(serving)
    for last in (False, False, True):
        name, port = alias or f"{serving.model.stem}-{secrets.token_hex(4)}", free_port()
        with tempfile.TemporaryFile() as log:
            keeper = start(command(serving, name, HOST, port), serving.threads, log)
            try:
                try:
                    wait_until_ready(keeper, port, name, log, start_seconds, on_progress)
                except ChildProcessFailed as error:
                    if last or not any(text in error.what for text in ADDRESS_TAKEN):
                        raise
                    continue
                server = Server(
                    url=f"http://{HOST}:{port}/v1", alias=name, pid=kept_by(keeper.pid), runtime=serving.runtime,
                    fingerprint=fingerprint,
                )  # fmt: skip
                try:
                    yield server
                except ServiceUnavailable as error:
                    if not ended(keeper):
                        raise
                    raise ChildProcessFailed(
                        f"the server {how(keeper)} while it was asked\n{tail(log)}".rstrip(),
                        fix="often too little memory: lower envelope.batch or envelope.context_tokens, then run it again",
                    ) from error
                return
            finally:
                stop(keeper)


def start(words: list[str], threads: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "quantplay.harness.served", str(os.getpid()), *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **process.thread_environment(threads)},
        start_new_session=True,  # Ctrl-C in a terminal is for us; we end the server
    )


def kept_by(keeper: int) -> int:
    """The server's own process."""
    import psutil

    children = psutil.Process(keeper).children()
    return children[0].pid if children else keeper


def stop(keeper: subprocess.Popen[bytes]) -> None:
    """End the server and all it started; politely first."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            keeper.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(seconds)
            return


def ended(keeper: subprocess.Popen[bytes], seconds: float = 2.0) -> bool:
    """Whether the server is gone; a connection breaks a moment before its process has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        keeper.wait(seconds)
    return keeper.returncode is not None


def how(keeper: subprocess.Popen[bytes]) -> str:
    code = keeper.returncode
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


def wait_until_ready(
    keeper: subprocess.Popen[bytes], port: int, alias: str, log: IO[bytes], seconds: float, on_progress: Report | None
) -> None:
    deadline = time.monotonic() + seconds
    started = time.monotonic()
    while time.monotonic() < deadline:
        if keeper.poll() is not None:
            raise ChildProcessFailed(
                f"the server {how(keeper)} before it served the model\n{tail(log)}".rstrip(),
                fix="often too little memory, or an architecture this runtime does not know: read the lines above",
            )
        models = models_of(port)
        if models is not None:
            if alias not in models:
                raise IntegrityError(
                    "a server answers that does not serve the model asked for",
                    value=", ".join(models) or "no model",
                    allowed=alias,
                    fix=f"stop what listens on port {port} of this machine, then try again",
                )
            return
        if on_progress is not None:
            on_progress(int(time.monotonic() - started), int(seconds), "seconds until the server is ready, at most")
        time.sleep(POLL_SECONDS)
    raise ServiceUnavailable(
        f"the server was not ready after {seconds:.0f} s\n{tail(log)}".rstrip(),
        fix="a large model on a slow disk takes long: try again when the file is in the page cache",
    )


def models_of(port: int) -> list[str] | None:
    """Names that the server on `port` lists; None while it does not answer."""
    try:
        body = get(f"http://{HOST}:{port}/v1/models")
        return [str(entry["id"]) for entry in json.loads(body)["data"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def get(url: str) -> bytes:
    """Directly: a proxy named by the environment has no business between two processes of one machine."""
    opener: Callable[..., IO[bytes]] = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    with opener(url, timeout=5) as answer:
        return answer.read()


def tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read()[-2000:].decode(errors="replace").strip()
