"""The process itself: started by its command, ended by a signal, begun again without its source of policies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateway_parts import QUICK, Timeouts, Upstream, arm, gateway_up, run, until, whole_stream

from quantplay.errors import ServiceUnavailable
from quantplay.live.gateway.files import FileSink, NoSink, read_policies, write_policies
from quantplay.live.gateway.gateway import gateway_open
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.table import Table
from quantplay.records.traffic import TrafficPolicy

ASK = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}


def policy(full: str, small: str, **changes: Any) -> TrafficPolicy:
    return TrafficPolicy(**{
        "endpoint": "chat", "revision": 1, "version": 1, "state": "canary", "weight": 1.0, "salt": "s", "timeouts": QUICK,
        "full_precision": arm(full, "model"), "quantized": arm(small, "model"), **changes,
    })  # fmt: skip


@asynccontextmanager
async def two_arms() -> AsyncIterator[tuple[str, str]]:
    full, small = Upstream(), Upstream()
    try:
        yield await full.start(), await small.start()
    finally:
        await full.stop()
        await small.stop()


async def started(folder: Path, *more: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "quantplay.cli", "gateway", "--policy", str(folder / "policies.json"), "--port", "0", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "QUANTPLAY_HOME": str(folder / "home"), "QUANTPLAY_GATEWAY_KEYS": "", **environment},
    )  # fmt: skip
    assert child.stdout is not None
    line = await asyncio.to_thread(child.stdout.readline)
    return child, line.strip().removeprefix("gateway: ")


def test_a_signal_lets_streams_finish_and_writes_the_last_counts(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_arms() as (full, small):
            write_policies(tmp_path / "policies.json", [policy(full, small, timeouts=Timeouts())])
            child, url = await started(tmp_path, "--records", str(tmp_path / "records"), "--admin-port", "0")
            try:
                async with aiohttp.ClientSession() as session:
                    body = {**ASK, "stream": True, "script": {"chunks": 20, "between": 0.1}}
                    async with session.post(f"{url}/chat/completions", json=body) as answer:
                        got = await answer.content.readany()
                        child.send_signal(signal.SIGTERM)
                        await asyncio.sleep(0.5)
                        with pytest.raises(aiohttp.ClientConnectorError):
                            await session.get(url.removesuffix("/v1") + "/healthz")
                        got += await answer.content.read()
                    assert whole_stream(got)
                assert await asyncio.to_thread(child.wait, 20) == 0
            finally:
                child.kill()
                _, told = child.communicate()
        assert "Traceback" not in told
        totals = FileSink(folder=tmp_path / "records").totals()
        assert totals["chat", 1, "quantized", "requests"] == totals["chat", 1, "quantized", "conversations"] == 1
        assert totals["chat", 1, "quantized", "tokens"] == 20

    run(test)


def test_what_can_not_be_served_is_said_before_anything_starts(tmp_path: Path) -> None:
    def told(*words: str, **environment: str) -> tuple[int, str]:
        found = subprocess.run(
            [sys.executable, "-m", "quantplay.cli", "gateway", *words], capture_output=True, text=True, timeout=60,
            env={**os.environ, "QUANTPLAY_HOME": str(tmp_path), "QUANTPLAY_GATEWAY_KEYS": "", **environment},
        )  # fmt: skip
        return found.returncode, found.stderr

    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    write_policies(good, [policy("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")])
    bad.write_text('{"policies": [{"endpoint": "Chat"}]}')
    for words, environment, code, said in (
        (["--records", str(tmp_path)], {}, 2, "--policy FILE"),
        (["--policy", str(tmp_path / "none.json")], {}, 3, "no policies in"),
        (["--policy", str(bad)], {}, 2, "policies.0.endpoint"),
        (["--policy", str(good), "--host", "0.0.0.0"], {}, 2, "QUANTPLAY_GATEWAY_KEYS"),
        (["--policy", str(good), "--port", "0"], {"QUANTPLAY_GATEWAY_KEYS": str(bad)}, 2, "not a file of keys"),
    ):
        found, text = told(*words, **environment)
        assert (found, said in " ".join(text.split())) == (code, True), text


class Gone:
    """A source that is away."""

    async def policies(self) -> AsyncIterator[tuple[TrafficPolicy, ...]]:
        raise ServiceUnavailable("away")
        yield ()


@pytest.mark.parametrize(
    ("age", "assigned"), [(10.0, "quantized"), (400.0, "full_precision"), (-3600.0, "full_precision")]
)
def test_a_start_without_the_source_begins_with_the_snapshot_as_old_as_it_is(
    tmp_path: Path, age: float, assigned: str
) -> None:
    async def test() -> None:
        async with two_arms() as (full, small):
            known = policy(full, small)
            snapshot = tmp_path / "snapshot.json"
            write_policies(snapshot, [known], confirmed=time.time() - age)
            async with gateway_open(Gone(), NoSink(), snapshot=snapshot) as gateway:
                assert gateway.unready is None
                route = gateway.table.route("chat", "c")
                assert route is not None
                assert (route.policy, route.assigned) == (known, assigned)

    run(test)


def test_a_snapshot_that_is_none_is_left_out(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "snapshot.json").write_text('{"policies": [')
        async with gateway_open(Gone(), NoSink(), snapshot=tmp_path / "snapshot.json") as gateway:
            assert gateway.unready == "no policy is known"

    run(test)


def test_stale_policies_assign_to_full_precision_until_they_are_confirmed_again(tmp_path: Path) -> None:
    now = [1000.0]
    table = Table(300, clock=lambda: now[0])
    assert table.stale
    known = policy("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")

    def assigned() -> str:
        route = table.route("chat", "c")
        assert route is not None
        return route.assigned

    for seconds, confirmed, expected in (
        (0, True, "quantized"), (300, False, "quantized"), (1, False, "full_precision"), (50, True, "quantized"),
    ):  # fmt: skip
        now[0] += seconds
        if confirmed:
            table.apply([known])
        assert assigned() == expected


def test_an_outage_of_source_and_sink_costs_no_request(tmp_path: Path) -> None:
    async def test() -> None:
        limits = Limits(flush_seconds=0.05, check_seconds=0.1, stale_seconds=4.0)
        async with gateway_up(tmp_path, weight=1, limits=limits) as bench:
            bench.policies.rename(tmp_path / "away.json")
            bench.sink.folder.mkdir(exist_ok=True)
            (bench.sink.folder / "counters.jsonl").mkdir()  # nobody can write there
            served, number = [], 0
            while served.count("full_precision") < 20:
                answer = await bench.post(headers={"x-conversation-id": f"c{number}"})
                assert answer.status == 200
                served.append(answer.served)
                number += 1
                await asyncio.sleep(0.02)
            assert served == sorted(served, reverse=True)  # quantized, then full precision for good
            assert {*served} == {"quantized", "full_precision"}
            assert answer.headers["x-quantplay-assigned"] == "full_precision"
            (bench.sink.folder / "counters.jsonl").rmdir()
            (tmp_path / "away.json").rename(bench.policies)
            await until(lambda: not bench.gateway.telemetry.counters.waiting)
            await until(lambda: not bench.gateway.table.stale)
            assert (await bench.post(headers={"x-conversation-id": "c0"})).served == "quantized"
            counts = await bench.counts()
            assert counts["quantized", "conversations"] == served.count("quantized")
            assert counts["full_precision", "conversations"] == served.count("full_precision")
            assert not {name for _, name in counts} & {"error", "other_arm"}

    run(test)


@pytest.mark.parametrize("sizes", [[1], [2, 0], []])
def test_policies_are_read_as_they_were_written(tmp_path: Path, sizes: Sequence[int]) -> None:
    known = [
        policy("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", endpoint=f"e{n}", weight=size / 2)
        for n, size in enumerate(sizes)
    ]
    write_policies(tmp_path / "p.json", known, confirmed=5.0)
    assert read_policies(tmp_path / "p.json").policies == tuple(known)
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]
    assert json.loads((tmp_path / "p.json").read_text())["confirmed"] == 5.0
