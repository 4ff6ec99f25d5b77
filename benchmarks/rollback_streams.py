"""Rollbacks under load: is a stream lost or cut off, and how soon does the last new request reach the quantized model?

`python -m benchmarks.rollback_streams [--quick]`. Twenty endpoints, all their policies in one file; in turn each is rolled back, and put back by a
new revision, while clients stream through all of them. Every stream ends with a checksum of itself, and every event names its server.
The delay is from the file's renaming to the last request that began later and was answered by the quantized model.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.gateway_lab import Streamed, at_rate, gateway, policy, session, stream, upstream, written
from benchmarks.report import Goal, at_least, at_most, finish, print_table, quick_asked
from quantplay.records.traffic import TrafficPolicy

ENDPOINTS = [f"endpoint-{n}" for n in range(20)]
RATE = 50.0
SCRIPT = {"chunks": 24, "between": 0.02}  # half a second, so that most rollbacks meet streams under way
Rollbacks = dict[str, list[tuple[float, float]]]  # endpoint -> (rolled back at, served again at)


class Board:
    """All policies, and what was done to them."""

    def __init__(self, path: Path, full: str, small: str) -> None:
        self.path = path
        self.policies = {name: policy(name, full, small) for name in ENDPOINTS}
        self.rollbacks: Rollbacks = {name: [] for name in ENDPOINTS}

    def write(self) -> None:
        written(self.path, list(self.policies.values()))

    def change(self, name: str, **changes: object) -> None:
        now: TrafficPolicy = self.policies[name]
        self.policies[name] = now.model_copy(update={"version": now.version + 1, **changes})

    async def roll(self, rounds: int, pause: float) -> None:
        """Half of the endpoints at a time, in parallel: rolled back together, put back together."""
        for number in range(rounds):
            half = ENDPOINTS[number % 2 :: 2]
            for name in half:
                self.change(name, state="rolled_back")
            await asyncio.to_thread(self.write)
            back = time.monotonic()
            await asyncio.sleep(pause)
            for name in half:
                self.change(name, state="canary", revision=self.policies[name].revision + 1)
            again = time.monotonic()
            await asyncio.to_thread(self.write)
            for name in half:
                self.rollbacks[name].append((back, again))
            await asyncio.sleep(pause / 2)


async def measure(url: str, board: Board, seconds: float, rounds: int) -> list[tuple[str, Streamed]]:
    pause = seconds / rounds / 1.5
    async with session() as asking:

        async def one(number: int) -> tuple[str, Streamed]:
            name = ENDPOINTS[number % len(ENDPOINTS)]
            return name, await stream(asking, url, name, f"question {number}", SCRIPT)

        rolling = asyncio.create_task(board.roll(rounds, pause))
        found = await at_rate(RATE, int(RATE * seconds), one)
        await rolling
        return found


def delays(found: list[tuple[str, Streamed]], rollbacks: Rollbacks) -> list[float]:
    """Of each rollback, seconds from the decision to the last request that the quantized model still answered; 0: none began later."""
    late = []
    for name, times in rollbacks.items():
        for back, again in times:
            began = [
                one.began for to, one in found if to == name and one.served == "quantized" and back < one.began < again
            ]
            late.append(max(began, default=back) - back)
    return late


def main() -> int:
    quick = quick_asked()
    seconds, rounds = (12.0, 6) if quick else (200.0, 100)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        full, small = (stack.enter_context(upstream(arm, "model")) for arm in ("full_precision", "quantized"))
        board = Board(folder / "policies.json", full.url, small.url)
        board.write()
        through = stack.enter_context(gateway(board.path, folder / "home"))
        found = asyncio.run(measure(through.url, board, seconds, rounds))
    streams = [one for _, one in found]
    late = delays(found, board.rollbacks)
    mixed = [one for one in streams if one.by is None or one.by != one.served]
    lost = [one for one in streams if not one.whole]
    crossed = sum(
        any(one.began < back < one.began + 0.4 for back, _ in board.rollbacks[to])
        for to, one in found
        if one.served == "quantized"
    )
    figures = {
        "streams": len(streams), "rollbacks": len(late), "quantized": sum(one.served == "quantized" for one in streams),
        "quantized_during_a_rollback": crossed, "delay_p50_seconds": float(np.median(late)),
        "delay_p99_seconds": float(np.percentile(late, 99)),
    }  # fmt: skip
    print_table(("figure", "value"), list(figures.items()))
    goals: dict[str, Goal] = {
        "streams lost or cut off": at_most(len(lost), 0),
        "streams from two servers": at_most(len(mixed), 0),
        "decision to last new request p99": at_most(figures["delay_p99_seconds"], 2, "s"),
        "quantized streams under way at a rollback": at_least(crossed, 1),
    }
    return finish("rollback_streams", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
