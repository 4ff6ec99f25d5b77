"""What serves the show: processes on free ports of this machine, each ended with the block, with Ctrl-C, and with this process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from quantplay.errors import ChildProcessFailed, ServiceUnavailable
from quantplay.harness.server import HOST, Server, free_port, how, served, stop, tail
from quantplay.harness.server_command import Serving

START_SECONDS = 120.0
SAID = "gateway: "
CONTEXT_TOKENS, AT_ONCE = 512, 4


@dataclass(frozen=True, kw_only=True)
class Front:
    """The gateway."""

    url: str  # that clients ask, ends with /v1
    admin: str  # its page


def arm(model: Path, alias: str) -> AbstractContextManager[Server]:
    """llama.cpp's server of a GGUF file, on one thread: there are two of them."""
    serving = Serving(
        runtime="llama.cpp-server", model=model, context_tokens=CONTEXT_TOKENS, concurrency=AT_ONCE, threads=1
    )
    return served(serving, alias=alias, start_seconds=START_SECONDS)


@contextmanager
def gateway() -> Iterator[Front]:
    """`quantplay gateway` on the product database that the environment names, without keys, until the block ends.

    Raises ChildProcessFailed where it does not start.
    """
    admin = free_port()
    words = [sys.executable, "-m", "quantplay.cli", "gateway", "--port", "0", "--admin-port", str(admin)]
    with tempfile.TemporaryFile() as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "quantplay.harness.served", str(os.getpid()), *words],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "QUANTPLAY_GATEWAY_KEYS": ""},
        )  # fmt: skip
        try:
            url = said(keeper, log)
            yield Front(url=url, admin=f"http://{HOST}:{admin}")
        finally:
            stop(keeper)


def said(keeper: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """The address that the gateway prints once it answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if keeper.poll() is not None:
            raise ChildProcessFailed(f"the gateway {how(keeper)} before it answered\n{tail(log)}".rstrip())
        line = next((one for one in tail(log).splitlines() if one.startswith(SAID)), None)
        if line is not None:
            return line.removeprefix(SAID).split()[0]
        time.sleep(0.1)
    raise ServiceUnavailable(f"the gateway was not ready after {START_SECONDS:.0f} s\n{tail(log)}".rstrip())
