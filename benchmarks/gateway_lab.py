"""What the gateway's benchmarks share: arms and gateway as processes of their own, a client that checks every stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks.gateway_upstream import is_whole
from quantplay.live.gateway.files import write_policies
from quantplay.records.traffic import ServedArm, TrafficPolicy


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process that serves."""

    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def memory_bytes(self) -> int:
        return self.process.memory_info().rss


@contextlib.contextmanager
def started(words: Sequence[str], *, prefix: str = "", **environment: str) -> Iterator[Running]:
    """`python WORDS` for as long as the block runs; its first line is its address."""
    child = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline().strip().removeprefix(prefix)
        if not line.startswith("http"):
            raise RuntimeError(f"{' '.join(words)} did not start: {line}")
        yield Running(url=line, process=psutil.Process(child.pid))
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def upstream(name: str, *models: str) -> contextlib.AbstractContextManager[Running]:
    return started(["-m", "benchmarks.gateway_upstream", name, *models])


def gateway(policies: Path, home: Path, records: Path | None = None) -> contextlib.AbstractContextManager[Running]:
    more = ["--records", str(records)] if records else []
    words = ["-m", "quantplay.cli", "gateway", "--policy", str(policies), "--port", "0", *more]
    return started(words, prefix="gateway: ", QUANTPLAY_HOME=str(home), QUANTPLAY_GATEWAY_KEYS="")


def policy(endpoint: str, full: str, small: str, **changes: Any) -> TrafficPolicy:
    """Both servers list the model `model`."""
    arms = [ServedArm(url=url, model="model", artifact="a" * 64) for url in (full, small)]
    told = {"revision": 1, "version": 1, "state": "canary", "weight": 0.5, "salt": "s"} | changes
    return TrafficPolicy(endpoint=endpoint, full_precision=arms[0], quantized=arms[1], **told)


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """One stream as its client had it."""

    first_seconds: float
    whole: bool
    served: str | None
    by: str | None  # the server's own name, in every event; None where they differ
    began: float  # monotonic
    status: int


async def stream(
    session: aiohttp.ClientSession, url: str, model: str, prompt: str, script: dict[str, Any] | None = None
) -> Streamed:
    """Ask for one stream and read it to its end; never raises for what a server does."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True, "script": script or {}}
    began, first, got, status, served = time.monotonic(), None, b"", 0, None
    try:
        async with session.post(f"{url}/chat/completions", json=body) as answer:
            status, served = answer.status, answer.headers.get("x-quantplay-served")
            async for chunk in answer.content.iter_any():
                first = first or time.monotonic()
                got += chunk
    except (aiohttp.ClientError, OSError, TimeoutError):
        got = b""
    text, names, done = read(got)
    return Streamed(
        first_seconds=(first or time.monotonic()) - began, whole=done and status == 200 and is_whole(text), served=served,
        by=names.pop() if len(names) == 1 else None, began=began, status=status,
    )  # fmt: skip


def read(got: bytes) -> tuple[str, set[str], bool]:
    """Text, names of the servers in its events, and whether [DONE] came."""
    text, names, done = [], set(), False
    for line in got.decode(errors="replace").split("\n"):
        if line == "data: [DONE]":
            done = True
        elif line.startswith("data: "):
            event = json.loads(line[6:])
            for choice in event.get("choices", ()):
                text.append(choice["delta"].get("content") or "")
                names.add(event.get("system_fingerprint"))
    return "".join(text), names, done


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3), timeout=aiohttp.ClientTimeout(total=60)
    )


async def at_rate(rate: float, count: int, one: Any) -> list[Any]:
    """Begin `one(n)` for n below `count`, `rate` a second whatever they take; their results in order."""
    began, tasks = time.monotonic(), []
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(number)))
    return await asyncio.gather(*tasks)


def written(path: Path, policies: Sequence[TrafficPolicy]) -> None:
    write_policies(path, policies)
