"""What a gateway counts of how conversations begin is what the same requests give when they are read by hand."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateway_parts import Timeouts, gateway_up, run
from test_gateway_process import policy, started, two_arms

from quantplay.live.drift.features import of_request
from quantplay.live.drift.fingerprint import PREFIX, fingerprint_of, from_counters
from quantplay.live.gateway.files import FileSink, write_policies
from quantplay.live.gateway.limits import Limits
from quantplay.records.traffic import CounterRow

SECRET = "Rumpelstilzchen"
ASKED: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": f"Where is my order {n}, {SECRET}?"}], "script": {"chunks": n + 1}} for n in range(12)
] + [
    {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Wo ist das Paket für mich?"}], "stream": True},
    {"messages": [{"role": "user", "content": "```\nx = 1\n```"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
                  {"role": "tool", "content": '{"order": 307}'}, {"role": "user", "content": "and now?"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "我的订单在哪里"}, {"type": "image_url", "image_url": {"url": "x"}}]}]},
    {"messages": [{"role": "user", "content": "lone \ud800 half"}], "tools": [{"type": "function", "function": {"name": "f"}}]},
    {"messages": [{"role": "user", "content": "word " * 30_000}]},
    {"messages": [{"role": "user", "content": 7}, {"content": {"a": 1}}, {"role": 3}]},
]  # fmt: skip


def answered(fields: dict[str, Any]) -> int:
    return fields.get("script", {}).get("chunks", 8)


def test_a_processes_counters_are_the_fingerprint_of_its_requests(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_arms() as (full, small):
            write_policies(tmp_path / "policies.json", [policy(full, small, weight=0.5, timeouts=Timeouts())])
            child, url = await started(tmp_path, "--records", str(tmp_path / "records"))
            try:
                async with aiohttp.ClientSession() as session:
                    for number, fields in enumerate(ASKED):
                        body = json.dumps({"model": "chat", **fields})
                        headers = {"x-conversation-id": f"c{number}", "content-type": "application/json"}
                        for _ in range(2):  # a second turn of a conversation is not counted
                            async with session.post(f"{url}/chat/completions", data=body, headers=headers) as answer:
                                assert answer.status == 200
                                await answer.read()
                    async with session.post(
                        f"{url}/completions", json={"model": "chat", "prompt": ["one", "two"], "script": {"chunks": 3}}
                    ) as answer:
                        assert answer.status == 200
                        await answer.read()
                child.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(child.wait, 20) == 0
            finally:
                child.kill()
                _, told = child.communicate()
            assert "Traceback" not in told

    day = int(time.time()) // 86_400
    run(test)
    totals = FileSink(folder=tmp_path / "records").totals()
    found = from_counters({name: value for (_, _, _, name), value in totals.items()})
    by_hand = [of_request(fields, answered(fields)) for fields in ASKED]
    assert found == fingerprint_of([*by_hand, of_request({"prompt": ["one", "two"]}, 3)])
    assert found.size == len(ASKED) + 1
    lines = (tmp_path / "records" / "counters.jsonl").read_text(encoding="utf-8")
    assert SECRET not in lines
    assert SECRET.lower() not in lines
    rows = [CounterRow.model_validate_json(line) for line in lines.splitlines()]
    drift = [row for row in rows if row.name.startswith(PREFIX)]
    assert {row.minute // 1440 for row in drift} <= {day, day + 1}
    assert {row.minute % 1440 for row in drift} == {0}


def test_what_failed_has_no_answer_and_what_the_server_refused_is_no_traffic(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=0) as bench:
            with pytest.raises(aiohttp.ClientPayloadError):
                await bench.post(headers={"x-conversation-id": "a"}, stream=True, script={"break_after": 2})
            await bench.post(headers={"x-conversation-id": "b"}, script={"status": 400})
            bench.gateway.telemetry.hand_over()
            counts = await bench.counts()
            drift = from_counters({name: value for (_, name), value in counts.items()})
            assert drift.looked == 1
            assert drift.bins("words").sum() == 1
            assert drift.bins("answer").sum() == 0
            async with bench.session.get(bench.url.removesuffix("/v1") + "/metrics") as answer:
                assert PREFIX not in await answer.text()

    run(test)


def test_counting_can_be_left_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(
            tmp_path, limits=Limits(flush_seconds=0.05, check_seconds=0.1, looked_a_minute=0)
        ) as bench:
            await bench.post()
            bench.gateway.telemetry.hand_over()
            assert not [name for _, name in await bench.counts() if name.startswith(PREFIX)]

    run(test)
