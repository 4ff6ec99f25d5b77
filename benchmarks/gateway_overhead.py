"""What the gateway costs: time to the first token and CPU of a 64-chunk stream, against the same server asked directly.

`python -m benchmarks.gateway_overhead [--quick] [--litellm PYTHON]`: PYTHON is the interpreter of an environment of its own in which
`litellm[proxy]` is installed; its proxy is then measured in the same run. Direct, through the gateway and through a bare proxy, turn by turn, so
that what else the machine does falls on all alike; CPU is the process's own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import yaml

from benchmarks.gateway_lab import (
    Running,
    Streamed,
    at_rate,
    gateway,
    policy,
    session,
    started,
    stream,
    upstream,
    written,
)
from benchmarks.report import Goal, at_least, at_most, finish, print_table

CHUNKS = 64
RATE = 50.0  # requests a second
SCRIPT = {"chunks": CHUNKS, "between": 0.002}


@dataclass(kw_only=True)
class Way:
    """One way to the server, and what was measured on it."""

    name: str
    url: str
    server: Running | None  # whose CPU counts
    rate: float = RATE
    streams: list[Streamed] = field(default_factory=list)
    cpu_seconds: float = 0.0

    @property
    def first_ms(self) -> np.ndarray:
        return np.array([one.first_seconds for one in self.streams]) * 1000

    @property
    def cpu_ms(self) -> float:
        return self.cpu_seconds * 1000 / len(self.streams)


async def measure(ways: list[Way], rounds: int, count: int) -> None:
    async with session() as asking:
        for number in range(rounds + 1):  # the first one warms up
            for way in ways:

                async def one(place: int, way: Way = way, number: int = number) -> Streamed:
                    return await stream(asking, way.url, "model", f"{number}-{place}", SCRIPT)

                before = way.server.cpu_seconds() if way.server else 0.0
                streams = await at_rate(way.rate, max(10, int(count * way.rate / RATE)), one)
                if number:
                    way.streams += streams
                    way.cpu_seconds += (way.server.cpu_seconds() if way.server else 0.0) - before


async def memory_slope(through: Running, url: str, count: int) -> tuple[float, int]:
    """Bytes a request that the process keeps, over short answers of a bounded number of conversations; and how many there were."""
    async with session() as asking:

        async def one(number: int) -> None:
            body = {"model": "model", "prompt": f"p{number % 500}", "script": {"chunks": 2}}
            with contextlib.suppress(aiohttp.ClientError):
                async with asking.post(f"{url}/completions", json=body) as answer:
                    await answer.read()

        async def some(numbers: range) -> None:
            for begin in range(numbers.start, numbers.stop, 50):
                await asyncio.gather(*(one(n) for n in range(begin, min(begin + 50, numbers.stop))))

        marks = []
        for part in range(6):  # the first part warms caches and pools up
            await some(range(part * count // 6, (part + 1) * count // 6))
            marks.append(((part + 1) * count // 6, through.memory_bytes()))
    asked, held = np.array(marks[1:], dtype=float).T
    return float(np.polyfit(asked, held, 1)[0]), count


@contextlib.contextmanager
def litellm(python: str, server: str, folder: Path) -> Iterator[Running]:
    """LiteLLM's proxy in front of `server`, with what it needs and no more."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    params = {"model": "openai/model", "api_base": server, "api_key": "none"}
    config = folder / "litellm.yaml"
    config.write_text(yaml.safe_dump({"model_list": [{"model_name": "model", "litellm_params": params}]}))
    program = Path(python).parent / "litellm"
    child = subprocess.Popen(
        [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
        env={"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )  # fmt: skip
    try:
        url, ends = f"http://127.0.0.1:{port}/v1", time.monotonic() + 120
        while not asyncio.run(answers(url)):
            if child.poll() is not None or time.monotonic() > ends:
                raise RuntimeError("LiteLLM's proxy did not start")
            time.sleep(1)
        yield Running(url=url, process=psutil.Process(child.pid))
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()


async def answers(url: str) -> bool:
    async with session() as asking:
        return (await stream(asking, url, "model", "are you there?", SCRIPT)).whole


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--litellm", metavar="PYTHON")
    asked = arguments.parse_args()
    rounds, count, requests = (2, 60, 1_200) if asked.quick else (8, 250, 100_000)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(upstream("server", "model"))
        path = folder / "policies.json"
        written(path, [policy("model", server.url, server.url)])
        through = stack.enter_context(gateway(path, folder / "home"))
        bare = stack.enter_context(started(["-m", "benchmarks.gateway_bare", server.url]))
        ways = [
            Way(name="direct", url=server.url, server=None), Way(name="gateway", url=through.url, server=through),
            Way(name="bare proxy", url=bare.url, server=bare),
        ]  # fmt: skip
        if asked.litellm:
            other = stack.enter_context(litellm(asked.litellm, server.url, folder))
            # At 50 a second it would fall behind on one core and measure its queue.
            ways.append(Way(name="LiteLLM proxy", url=other.url, server=other, rate=5.0))
        asyncio.run(measure(ways, rounds, count))
        slope, asked_in_all = asyncio.run(memory_slope(through, through.url, requests))
        memory = through.memory_bytes() / 2**20
    return report(ways, slope, asked_in_all, memory)


def report(ways: list[Way], slope: float, requests: int, memory: float) -> int:
    direct, own, bare, *others = ways
    rows = [
        (way.name, len(way.streams), float(np.median(way.first_ms)), float(np.percentile(way.first_ms, 99)),
         way.cpu_ms if way.server else "", sum(not one.whole for one in way.streams))
        for way in ways
    ]  # fmt: skip
    print_table(("way", "streams", "first ms p50", "p99", "CPU ms each", "not whole"), rows)
    print(f"\nmemory {memory:.0f} MiB, {slope:.0f} bytes a request over {requests} requests")
    added = [float(np.percentile(own.first_ms, q) - np.percentile(direct.first_ms, q)) for q in (50, 99)]
    goals: dict[str, Goal] = {
        "first token p50": at_most(added[0], 3, "ms more than direct"),
        "first token p99": at_most(added[1], 10, "ms more than direct"),
        "CPU a stream of 64 chunks": at_most(own.cpu_ms, 2.5, "ms"),
        "CPU over that of a bare proxy": at_most(own.cpu_ms / bare.cpu_ms, 1.5, "times"),
        "streams not whole": at_most(sum(not one.whole for one in own.streams), 0),
    }
    figures = {
        "added_first_ms": added,
        "cpu_ms": own.cpu_ms,
        "bare_cpu_ms": bare.cpu_ms,
        "memory_slope_bytes": slope,
        "memory_mib": memory,
    }
    for other in others:
        figures["litellm_cpu_ms"] = other.cpu_ms
        goals["CPU of LiteLLM's proxy over the gateway's"] = at_least(other.cpu_ms / own.cpu_ms, 10, "times")
    return finish("gateway_overhead", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
