"""Rollbacks under load: is a stream lost or cut off, and how soon does the last new request reach the quantized model?

`python -m benchmarks.rollback_streams [--quick] [--source file|database|polling]`. Twenty endpoints; in turn each is rolled back, and put back by a
new revision, while clients stream through all of them. Every stream ends with a checksum of itself, and every event names its server.
The policies are in one file; in a product database of their own; or there, and every notification of a change is lost. Without --source all three.
The delay is from the decision, which is the file's renaming or the call that changes the row, to the last request that began later and was answered by
the quantized model.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sqlalchemy as sa

from benchmarks.gateway_lab import Streamed, at_rate, gateway, policy, session, stream, upstream, written
from benchmarks.live_lab import arms, free_port, gateway_service, ground, released, until_ready
from benchmarks.report import Goal, at_least, at_most, finish, print_table, quick_asked
from quantplay.records.traffic import ServedArm, TrafficPolicy
from quantplay.store.registry import Store

LIMITS = {"file": 2.0, "database": 2.0, "polling": 5.0}  # seconds from the decision to the last new request, p99
NO_NOTICE = """CREATE OR REPLACE FUNCTION quantplay.note_pointer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO quantplay.traffic_changes
        VALUES (NEW.endpoint, NEW.version, NEW.revision, NEW.state, NEW.weight, NEW.kill, NEW.epoch, NEW.actor, NEW.reason, NEW.changed_at);
    RETURN NULL;
END $$"""
ENDPOINTS = [f"endpoint-{n}" for n in range(20)]
RATE = 50.0
SCRIPT = {"chunks": 24, "between": 0.02}  # half a second, so that most rollbacks meet streams under way
Rollbacks = dict[str, list[tuple[float, float]]]  # endpoint -> (rolled back at, served again at)


class Board(Protocol):
    """Where the policies of several endpoints are changed at once. Each call gives a moment before any of it is in force."""

    async def roll_back(self, names: list[str]) -> float: ...

    async def put_back(self, names: list[str]) -> float: ...


class FileBoard:
    """All policies in one file."""

    def __init__(self, path: Path, full: str, small: str) -> None:
        self.path = path
        self.policies = {name: policy(name, full, small) for name in ENDPOINTS}
        self.write()

    def write(self) -> None:
        written(self.path, list(self.policies.values()))

    def change(self, name: str, **changes: object) -> None:
        now: TrafficPolicy = self.policies[name]
        self.policies[name] = now.model_copy(update={"version": now.version + 1, **changes})

    async def roll_back(self, names: list[str]) -> float:
        for name in names:
            self.change(name, state="rolled_back")
        await asyncio.to_thread(self.write)
        return time.monotonic()

    async def put_back(self, names: list[str]) -> float:
        for name in names:
            self.change(name, state="canary", revision=self.policies[name].revision + 1)
        now = time.monotonic()
        await asyncio.to_thread(self.write)
        return now


class DatabaseBoard:
    """A row an endpoint; each change is a transaction of its own, all at the same time."""

    def __init__(self, store: Store, both: dict[str, ServedArm]) -> None:
        self.store, self.both = store, both
        for name in ENDPOINTS:
            self.release(name)

    def release(self, name: str) -> None:
        released(self.store, name, self.both, weight=0.5)

    async def roll_back(self, names: list[str]) -> float:
        now = time.monotonic()
        told = {"actor": "on-call", "reason": "a benchmark"}
        await asyncio.gather(*(asyncio.to_thread(self.store.roll_back, name, **told) for name in names))
        return now

    async def put_back(self, names: list[str]) -> float:
        now = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(self.release, name) for name in names))
        return now


async def roll(board: Board, rollbacks: Rollbacks, rounds: int, seconds: float) -> None:
    """Half of the endpoints at a time, in parallel: rolled back together, put back together."""
    began = time.monotonic()
    for number in range(rounds):
        half = ENDPOINTS[number % 2 :: 2]
        back = await board.roll_back(half)
        await asyncio.sleep(seconds / rounds / 1.5)
        again = await board.put_back(half)
        for name in half:
            rollbacks[name].append((back, again))
        await asyncio.sleep(max(0.0, began + seconds * (number + 1) / rounds - time.monotonic()))


async def measure(
    url: str, board: Board, rollbacks: Rollbacks, seconds: float, rounds: int
) -> list[tuple[str, Streamed]]:
    async with session() as asking:

        async def one(number: int) -> tuple[str, Streamed]:
            name = ENDPOINTS[number % len(ENDPOINTS)]
            return name, await stream(asking, url, name, f"question {number}", SCRIPT)

        rolling = asyncio.create_task(roll(board, rollbacks, rounds, seconds))
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


@contextlib.contextmanager
def serving(source: str, full: str, small: str) -> Iterator[tuple[str, Board]]:
    """The address of a gateway, and where its policies are changed."""
    if source == "file":
        with tempfile.TemporaryDirectory() as name:
            board = FileBoard(Path(name) / "policies.json", full, small)
            with gateway(board.path, Path(name) / "home") as through:
                yield through.url, board
        return
    with ground() as here, here.store() as store:
        if source == "polling":
            with store.engine.begin() as connection:
                connection.execute(sa.text(NO_NOTICE))
        board, port = DatabaseBoard(store, arms(full, small)), free_port()
        with gateway_service(here, port):
            until_ready(port)
            yield f"http://127.0.0.1:{port}/v1", board


def rolled(source: str, full: str, small: str, seconds: float, rounds: int) -> tuple[dict[str, Any], dict[str, Goal]]:
    """Figures and goals of one source."""
    rollbacks: Rollbacks = {name: [] for name in ENDPOINTS}
    with serving(source, full, small) as (url, board):
        found = asyncio.run(measure(url, board, rollbacks, seconds, rounds))
    streams, late = [one for _, one in found], delays(found, rollbacks)
    crossed = sum(
        any(one.began < back < one.began + 0.4 for back, _ in rollbacks[to])
        for to, one in found
        if one.served == "quantized"
    )
    lost = [one for one in streams if not one.whole]
    for one in lost[:20]:
        print(f"lost: {one}", file=sys.stderr)
    figures = {
        "streams": len(streams), "rollbacks": len(late), "quantized": sum(one.served == "quantized" for one in streams),
        "quantized_during_a_rollback": crossed, "delay_p50_seconds": float(np.median(late)),
        "delay_p99_seconds": float(np.percentile(late, 99)), "delay_most_seconds": max(late),
    }  # fmt: skip
    goals = {
        "streams lost or cut off": at_most(len(lost), 0),
        "streams from two servers": at_most(sum(one.whole and one.by != one.served for one in streams), 0),
        "decision to last new request p99": at_most(figures["delay_p99_seconds"], LIMITS[source], "s"),
        "quantized streams under way at a rollback": at_least(crossed, 1),
    }
    return figures, goals


def main() -> int:
    seconds, rounds = (12.0, 6) if quick_asked() else (200.0, 100)
    sources = [sys.argv[sys.argv.index("--source") + 1]] if "--source" in sys.argv else [*LIMITS]
    figures, goals = dict[str, Any](), dict[str, Goal]()
    with contextlib.ExitStack() as stack:
        full, small = (stack.enter_context(upstream(arm, "model")) for arm in ("full_precision", "quantized"))
        for source in sources:
            figures[source], met = rolled(source, full.url, small.url, seconds, rounds)
            goals |= {f"{source}: {name}": goal for name, goal in met.items()}
    print_table(
        ("figure", *sources), [(name, *(figures[each][name] for each in sources)) for name in figures[sources[0]]]
    )
    return finish("rollback_streams", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
