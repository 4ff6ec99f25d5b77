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
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Literal

from quantplay import process
from quantplay.errors import ChildProcessFailed, IntegrityError, MissingDependency, ServiceUnavailable
from quantplay.process import Report

ServerKind = Literal["llama.cpp", "vllm"]
HOST = "127.0.0.1"
START_SECONDS = 900.0  # a large model is read from the disk, and vLLM compiles
STOP_SECONDS = 20.0
POLL_SECONDS = 0.2
ADDRESS_TAKEN = ("address already in use", "Errno 98", "EADDRINUSE")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model is served."""

    kind: ServerKind
    model: Path  # a GGUF file (llama.cpp) or a model folder (vLLM)
    context_tokens: int  # of one request
    concurrency: int  # requests at once
    threads: int
    scores: bool = (
        False  # also log-probabilities of a prompt's tokens, which takes llama.cpp context x vocabulary x 4 bytes
    )


@dataclass(frozen=True, kw_only=True)
class Server:
    """One that runs. `fingerprint` is what can change its answers or its speed: versions and flags, no port and no path."""

    url: str  # of the API, ends with /v1
    alias: str  # the name under which this very process serves this very model
    pid: int
    fingerprint: dict[str, str]


@contextlib.contextmanager
def served(
    serving: Serving, *, start_seconds: float = START_SECONDS, on_progress: Report | None = None
) -> Iterator[Server]:
    """A server of `serving.model` for as long as the block runs.

    The alias holds a random part, so a stranger that took the port can't be mistaken for it. Raises MissingDependency where
    the runtime is not installed, ChildProcessFailed where it ends, ServiceUnavailable where it does not come up in
    `start_seconds`, IntegrityError where another model answers.
    """
    version = require_runtime(serving.kind)
    for last in (False, False, True):
        alias, port = f"{serving.model.stem}-{secrets.token_hex(4)}", free_port()
        with tempfile.TemporaryFile() as log:
            child = start(command(serving, alias, port), serving.threads, log)
            try:
                try:
                    wait_until_ready(child, port, alias, log, start_seconds, on_progress)
                except ChildProcessFailed as error:
                    if last or not any(text in error.what for text in ADDRESS_TAKEN):
                        raise
                    continue
                yield Server(
                    url=f"http://{HOST}:{port}/v1",
                    alias=alias,
                    pid=child.pid,
                    fingerprint={"server": f"{serving.kind} {version}", "flags": " ".join(flags(serving))},
                )
                return
            finally:
                stop(child)


def require_runtime(kind: ServerKind) -> str:
    """Its version. Raises MissingDependency with the command that installs it."""
    package = {"llama.cpp": "llama-cpp-python", "vllm": "vllm"}[kind]
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise MissingDependency(
            f"{kind} is not installed here, so no model can be served by it",
            fix=f"pip install {package} (on a machine with an accelerator)" if kind == "vllm" else "make setup",
        ) from None


def command(serving: Serving, alias: str, port: int) -> list[str]:
    where = ["--host", HOST, "--port", str(port)]
    if serving.kind == "vllm":
        return ["vllm", "serve", str(serving.model), "--served-model-name", alias, *where, *flags(serving)]
    return [
        sys.executable, "-m", "llama_cpp.server", "--model", str(serving.model), "--model_alias", alias, *where,
        *flags(serving),
    ]  # fmt: skip


def flags(serving: Serving) -> list[str]:
    """What sets the runtime up, beside the model and the address."""
    if serving.kind == "vllm":  # one scheduler step is deterministic only without the cache of shared prefixes
        return ["--max-model-len", str(serving.context_tokens), "--max-num-seqs", str(serving.concurrency), "--seed", "0",
                "--no-enable-prefix-caching", "--generation-config", "vllm"]  # fmt: skip
    # Requests wait for each other instead of breaking each other off, which is this server's default.
    return ["--n_ctx", str(serving.context_tokens), "--n_threads", str(serving.threads), "--n_threads_batch",
            str(serving.threads), "--interrupt_requests", "false", "--logits_all", str(serving.scores).lower(),
            "--seed", "0", "--verbose", "false"]  # fmt: skip


def start(words: list[str], threads: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "quantplay.harness.served", str(os.getpid()), *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **process.thread_environment(threads)},
        start_new_session=True,  # vLLM starts processes of its own, which are stopped with it
    )


def stop(child: subprocess.Popen[bytes]) -> None:
    """End the server and all it started; politely first."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # what outlived its parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


def wait_until_ready(
    child: subprocess.Popen[bytes], port: int, alias: str, log: IO[bytes], seconds: float, on_progress: Report | None
) -> None:
    deadline = time.monotonic() + seconds
    started = time.monotonic()
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ChildProcessFailed(
                f"the server ended with status {child.returncode} before it served the model\n{tail(log)}".rstrip(),
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
