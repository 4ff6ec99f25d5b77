"""A client that goes away ends the arm's work at once: before the first byte, in mid-stream, and where nothing is streamed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from gateway_parts import Timeouts, gateway_up, run, until

from quantplay.live.gateway.limits import Limits

PATIENT = Timeouts()
WHEN = {
    "before the headers": ({"first": 30}, True),
    "before the first event": ({"silent": 30}, True),
    "in mid-stream": ({"between": 0.05, "chunks": 500}, True),
    "between two events": ({"hang_after": 3}, True),
    "not streamed": ({"first": 30}, False),
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_arm_learns_that_nobody_waits(tmp_path: Path, when: str, weight: float) -> None:
    script, stream = WHEN[when]

    async def test() -> None:
        async with gateway_up(tmp_path, weight=weight, timeouts=PATIENT) as bench:
            arm, other = (bench.small, bench.full) if weight else (bench.full, bench.small)
            body: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
            asking = asyncio.create_task(read(bench, body | {"script": script}))
            await until(lambda: arm.running == 1)
            await asyncio.sleep(0.2)
            left = time.monotonic()
            asking.cancel()
            await until(lambda: arm.gone, seconds=5)
            assert arm.gone[0] >= left
            await until(lambda: bench.gateway.running == 0)
            assert other.seen == []
            await until(bench.sink.requests)
            [row] = bench.sink.requests()
            assert row.status == 499
            assert row.served == row.assigned
            assert not {name for _, name in await bench.counts()} & {"error", "other_arm"}

    run(test)


async def read(bench: Any, body: dict[str, Any]) -> None:
    async with bench.session.post(f"{bench.url}/chat/completions", json=body) as answer:
        await answer.read()


async def asked_and_not_read(bench: Any) -> None:
    """A client that asks for a long answer and reads none of it, until nobody answers it any more."""
    port = int(bench.url.split(":")[2].split("/")[0])
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    body = b'{"model":"chat","prompt":"x","stream":true,"script":{"chunks":200000}}'
    head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    try:
        writer.write(head % len(body) + body)
        await until(lambda: bench.gateway.running == 1 and bench.full.running == 1)
        await until(lambda: bench.gateway.running == 0 and bench.full.running == 0, seconds=30)
    finally:
        writer.transport.abort()


def test_a_client_that_reads_nothing_holds_an_arm_no_longer_than_the_whole_may_last(tmp_path: Path) -> None:
    async def test() -> None:
        timeouts = Timeouts(total_seconds=5)
        async with gateway_up(tmp_path, weight=0, timeouts=timeouts) as bench:
            await asked_and_not_read(bench)

    run(test)


def test_a_client_that_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    async def test() -> None:
        limits = Limits(unread_seconds=0.3)
        async with gateway_up(tmp_path, weight=0, timeouts=PATIENT, limits=limits) as bench:
            await asked_and_not_read(bench)

    run(test)
