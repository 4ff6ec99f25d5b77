"""How long an arm works on for a client that went away: `python -m benchmarks.cancellation [--quick]`.

The arms run in this process, so both ends are told by one clock: from the client's closing its connection to the arm's learning of it, with
the gateway, a process of its own, in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.gateway_lab import gateway, policy, session, written
from benchmarks.gateway_upstream import Upstream
from benchmarks.report import at_most, finish, print_table, quick_asked

LIMIT_MS = 250.0
CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "before the first byte": ({"first": 30}, True),
    "before the first event": ({"silent": 30}, True),
    "mid-stream": ({"between": 0.02, "chunks": 2000}, True),
    "not streamed": ({"first": 30}, False),
}


async def left(asking: aiohttp.ClientSession, url: str, arm: Upstream, script: dict[str, Any], stream: bool) -> float:
    """Milliseconds until the arm knows."""
    body = {"model": "model", "messages": [{"role": "user", "content": "x"}], "stream": stream, "script": script}

    async def ask() -> None:
        async with asking.post(f"{url}/chat/completions", json=body) as answer:
            await answer.read()

    task, known = asyncio.create_task(ask()), len(arm.gone)
    while not arm.running:
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.15)
    went = time.monotonic()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    while len(arm.gone) == known and time.monotonic() < went + 10:
        await asyncio.sleep(0.001)
    return ((arm.gone[-1] if len(arm.gone) > known else float("inf")) - went) * 1000


async def measure(folder: Path, times: int) -> dict[str, list[float]]:
    arm = Upstream(keep=0)
    url = await arm.start()
    written(folder / "policies.json", [policy("model", url, url)])
    with contextlib.ExitStack() as stack:
        # Its start asks the arm in this loop for its models, so the loop has to go on meanwhile.
        through = await asyncio.to_thread(stack.enter_context, gateway(folder / "policies.json", folder / "home"))
        async with session() as asking:
            return {
                name: [await left(asking, through.url, arm, *case) for _ in range(times)]
                for name, case in CASES.items()
            }


def main() -> int:
    times = 5 if quick_asked() else 50
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(measure(Path(name), times))
    rows = [(case, len(ms), float(np.median(ms)), max(ms)) for case, ms in found.items()]
    print_table(("client leaves", "times", "ms p50", "ms most"), rows)
    goals = {case: at_most(max(ms), LIMIT_MS, "ms") for case, ms in found.items()}
    return finish(
        "cancellation", {case: {"p50": float(np.median(ms)), "most": max(ms)} for case, ms in found.items()}, goals
    )


if __name__ == "__main__":
    sys.exit(main())
