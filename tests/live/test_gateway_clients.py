"""Clients nobody wrote for us: OpenAI's own, curl, and one that tries whatever the description allows and forbids."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from gateway_parts import Timeouts, gateway_up, is_whole, run

PATIENT = Timeouts()


def test_openais_client(tmp_path: Path) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]

    async def test() -> None:
        async with (
            gateway_up(tmp_path, weight=1, timeouts=PATIENT) as bench,
            openai.AsyncOpenAI(base_url=bench.url, api_key="any", max_retries=0) as client,
        ):
            answer = await client.chat.completions.create(model="chat", messages=messages)
            assert is_whole(answer.choices[0].message.content or "")
            stream = await client.chat.completions.create(
                model="chat", messages=messages, stream=True, stream_options={"include_usage": True}
            )
            async with stream:
                chunks = [chunk async for chunk in stream]
            assert is_whole("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
            assert chunks[-1].usage is not None
            text = await client.completions.create(model="chat", prompt="once upon a time")
            assert is_whole(text.choices[0].text)
            assert [model.id async for model in client.models.list()] == ["chat"]
            assert (await client.models.retrieve("chat")).id == "chat"
            raw = await client.chat.completions.with_raw_response.create(model="chat", messages=messages)
            assert raw.headers["x-quantplay-served"] == "quantized"
            with pytest.raises(openai.NotFoundError, match="no such endpoint"):
                await client.chat.completions.create(model="nobody", messages=messages)
            with pytest.raises(openai.BadRequestError, match="at least one message"):
                await client.chat.completions.create(model="chat", messages=[])
            broken = await client.chat.completions.create(
                model="chat",
                messages=messages,
                stream=True,
                extra_body={"script": {"break_after": 3, "between": 0.02}},
            )
            async with broken:
                with pytest.raises(openai.APIError, match="broke off"):
                    async for _ in broken:
                        pass

    run(test)


def test_curl(tmp_path: Path) -> None:
    async def curl(*arguments: str) -> tuple[int, str]:
        found = await asyncio.to_thread(
            subprocess.run, ["curl", "-sS", "-N", "--max-time", "20", *arguments], capture_output=True, text=True
        )
        return found.returncode, found.stdout

    async def test() -> None:
        async with gateway_up(tmp_path, weight=1, timeouts=PATIENT) as bench:
            body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
            ask = (f"{bench.url}/chat/completions", "-H", "content-type: application/json", "-d")
            code, text = await curl(*ask, json.dumps(body))
            assert code == 0
            assert is_whole(json.loads(text)["choices"][0]["message"]["content"])
            code, text = await curl(*ask, json.dumps({**body, "stream": True}))
            assert (code, text.endswith("data: [DONE]\n\n")) == (0, True)
            large = tmp_path / "large.json"  # curl waits for `100 Continue`, and aiohttp would rather have a file
            large.write_text(json.dumps({**body, "pad": "x" * 2_000_000}))
            code, text = await curl(*ask, f"@{large}")
            assert is_whole(json.loads(text)["choices"][0]["message"]["content"])
            assert len(bench.small.seen[-1].body) > 2_000_000
            code, text = await curl(*ask, json.dumps({**body, "stream": True, "script": {"end_after": 2}}))
            assert code == 18  # a partial answer
            assert "ended without its last event" in text

    run(test)


@pytest.mark.slow
def test_nothing_is_found_by_trying_what_the_description_allows_and_forbids(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=0.5, timeouts=PATIENT) as bench:
            base = bench.url.removesuffix("/v1")
            found = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "schemathesis.cli", "run", f"{base}/openapi.json", "--max-examples", "15", "--seed", "1",
                 "--phases", "examples,coverage,fuzzing", "--no-color", "--request-timeout", "20"],
                capture_output=True, text=True, cwd=tmp_path,
            )  # fmt: skip
            assert found.returncode == 0, found.stdout[-8000:]
            assert "8 passed" in found.stdout or "9 passed" in found.stdout, found.stdout[-2000:]

    run(test, seconds=300)
