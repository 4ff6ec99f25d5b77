"""A gateway with its arms, all real: servers of our own on loopback, the gateway in this process behind real uvicorn."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.gateway_upstream import Script, Upstream, is_whole
from quantplay.live.gateway.app import public_app
from quantplay.live.gateway.files import FileSink, PolicyFileSource, write_policies
from quantplay.live.gateway.gateway import Gateway, gateway_open
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.ports import Others
from quantplay.live.gateway.protocol import bounded
from quantplay.live.gateway.serve import Server, listen
from quantplay.records.traffic import ServedArm, Timeouts, TrafficPolicy

QUICK = Timeouts(connect_seconds=0.5, first_token_seconds=0.4, between_chunks_seconds=0.4, total_seconds=3)


def arm(url: str, model: str, **changes: Any) -> ServedArm:
    return ServedArm(url=url, model=model, artifact="a" * 64, **changes)


@dataclass(kw_only=True)
class Bench:
    """What a test holds in its hands."""

    full: Upstream
    small: Upstream
    gateway: Gateway
    policies: Path
    sink: FileSink
    url: str
    session: aiohttp.ClientSession
    policy: TrafficPolicy

    def swap(self, **changes: Any) -> None:
        """Another policy in the file, one version on."""
        self.policy = self.policy.model_copy(update={"version": self.policy.version + 1, **changes})
        write_policies(self.policies, [self.policy])

    async def swapped(self, **changes: Any) -> None:
        self.swap(**changes)
        await until(lambda: self.gateway.table.policies["chat"].version == self.policy.version)
        await self.gateway.checks.settled()

    async def post(self, path: str = "/chat/completions", **fields: Any) -> Answer:
        headers = fields.pop("headers", {})
        body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]} | fields
        async with self.session.post(self.url + path, json=body, headers=headers) as response:
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def counts(self) -> dict[tuple[str, str], int]:
        """(assigned arm, name) -> count of the first revision, as the sink has them."""
        await self.gateway.telemetry.flush()
        return {(a, name): n for (_, revision, a, name), n in self.sink.totals().items() if revision == 1}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json"
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    @property
    def text(self) -> str:
        return self.json["choices"][0]["message"]["content"]

    @property
    def served(self) -> str:
        return self.headers["x-quantplay-served"]


def events_of(body: bytes) -> list[Any]:
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def streamed_text(body: bytes) -> str:
    return "".join(e["choices"][0]["delta"]["content"] for e in events_of(body) if e != "[DONE]" and e.get("choices"))


def whole_stream(body: bytes) -> bool:
    return events_of(body)[-1] == "[DONE]" and is_whole(streamed_text(body))


async def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not happen"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def gateway_up(
    folder: Path, *, weight: float = 0.5, full: Upstream | None = None, small: Upstream | None = None,
    limits: Limits | None = None, keys: Path | None = None, others: Others | None = None, timeouts: Timeouts = QUICK, **policy: Any,
) -> AsyncIterator[Bench]:  # fmt: skip
    full = full or Upstream(name="full", models=("full-model",))
    small = small or Upstream(name="small", models=("small-model",))
    arms = {
        "full_precision": arm(await full.start(), "full-model"), "quantized": arm(await small.start(), "small-model"),
    }  # fmt: skip
    first = TrafficPolicy(**{
        "endpoint": "chat", "revision": 1, "version": 1, "state": "canary", "weight": weight, "salt": "pepper",
        "timeouts": timeouts, **arms, **policy,
    })  # fmt: skip
    path, sink = folder / "policies.json", FileSink(folder=folder / "records")
    write_policies(path, [first])
    limits = limits or Limits(flush_seconds=0.05, check_seconds=0.1)
    source = PolicyFileSource(path=path, seconds=0.01)
    opened = gateway_open(
        source, sink, others=others, keys=keys, snapshot=folder / "snapshot.json", limits=limits
    )  # fmt: skip
    async with opened as gateway:
        socket = listen("127.0.0.1", 0)
        server = Server(uvicorn_config(gateway, limits))
        serving = asyncio.create_task(server.serve(sockets=[socket]))
        await until(lambda: server.started)
        try:
            async with aiohttp.ClientSession() as session:
                yield Bench(
                    full=full, small=small, gateway=gateway, policies=path, sink=sink, policy=first, session=session,
                    url=f"http://127.0.0.1:{socket.getsockname()[1]}/v1",
                )  # fmt: skip
        finally:
            server.should_exit = server.force_exit = True
            await serving
            await full.stop()
            await small.stop()


def uvicorn_config(gateway: Gateway, limits: Limits) -> Any:
    import uvicorn

    return uvicorn.Config(
        public_app(gateway), http=bounded(limits), loop="asyncio", ws="none", lifespan="off", log_config=None,
        access_log=False, server_header=False, proxy_headers=False,
    )  # fmt: skip


def run(test: Callable[[], Awaitable[None]], seconds: float = 60) -> None:
    async def bounded_run() -> None:
        async with asyncio.timeout(seconds):
            await test()

    asyncio.run(bounded_run())


__all__ = ["QUICK", "Answer", "Bench", "Script", "Upstream", "arm", "events_of", "gateway_up", "is_whole", "run",
           "streamed_text", "until", "whole_stream"]  # fmt: skip
