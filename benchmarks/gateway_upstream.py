"""A small real server in OpenAI's form: its text follows from the prompt, its delays and faults from a script.

`python -m benchmarks.gateway_upstream NAME [MODEL ...]` runs one of its own; the address is its first line. A request may carry
the script of its own answer in the field `script`, which a gateway has to pass on like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Script:
    """How one answer goes."""

    status: int = 200
    first: float = 0.0  # seconds before the headers
    silent: float = 0.0  # seconds between the headers and the first event
    between: float = 0.0  # seconds between events
    chunks: int = 8
    hang_after: int | None = None  # events, then nothing more
    break_after: int | None = None  # events, then the connection is reset
    end_after: int | None = None  # events, then a clean end without [DONE]
    error_after: int | None = None  # events, then an error event
    no_json: bool = False


def tokens_of(prompt: str, count: int) -> list[str]:
    """The text of an answer in `count` pieces; the last one is a checksum of the others."""
    pieces = [hashlib.sha256(f"{prompt}:{n}".encode()).hexdigest()[:6] + " " for n in range(count - 1)]
    return [*pieces, "#" + hashlib.sha256("".join(pieces).encode()).hexdigest()]


def is_whole(text: str) -> bool:
    """Whether a text is one that `tokens_of` made, from its first to its last character."""
    body, mark, checksum = text.rpartition("#")
    return bool(mark) and hashlib.sha256(body.encode()).hexdigest() == checksum


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Upstream:
    name: str = "upstream"
    models: tuple[str, ...] = ("model",)
    script: Script = field(default_factory=Script)
    key: str | None = None
    build: str | None = None
    seen: list[Seen] = field(default_factory=list)
    keep: int = 10_000  # requests in `seen`
    lists_asked: int = 0
    running: int = 0
    gone: list[float] = field(default_factory=list)  # monotonic times at which a client left before its answer's end
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, port: int = 0) -> str:
        self.server = await asyncio.start_server(self.connection, "127.0.0.1", port, backlog=2048)
        return self.url

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while True:
                request = await read_request(reader)
                if request is None:
                    return
                method, seen = request
                await self.answer(method, seen, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.writers.discard(writer)
            writer.close()

    async def answer(self, method: str, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.key is not None and seen.headers.get("authorization") != f"Bearer {self.key}":
            return send(writer, 401, {"error": {"message": "no such key"}})
        if method == "GET":
            self.lists_asked += seen.path == "/v1/models"
            told: dict[str, Any] = {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            if seen.path == "/props":
                return send(writer, 200, {"build_info": self.build}) if self.build else send(writer, 404, {})
            return send(writer, 200 if seen.path == "/v1/models" else 404, told)
        if len(self.seen) < self.keep:
            self.seen.append(seen)
        fields = seen.fields
        script = replace(self.script, **fields.get("script", {}))
        left = asyncio.ensure_future(reader.read(1))
        work = asyncio.ensure_future(self.generate(seen, fields, script, writer))
        self.running += 1
        try:
            await asyncio.wait({left, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.gone.append(time.monotonic())
                raise ConnectionResetError
            work.result()
        finally:
            self.running -= 1
            for task in (left, work):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await task

    async def generate(self, seen: Seen, fields: dict[str, Any], script: Script, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(script.first)
        if script.status != 200:
            return send(writer, script.status, {"error": {"message": "as scripted", "type": "x", "code": None}})
        if script.no_json:
            return send(writer, 200, b"<html>hello</html>", "text/html")
        chat = seen.path.endswith("/chat/completions")
        prompt = json.dumps(fields["messages"] if chat else fields["prompt"], sort_keys=True)
        pieces = tokens_of(prompt, script.chunks)
        digest = hashlib.sha256(f"{prompt}{time.time_ns()}{id(seen)}".encode()).hexdigest()[:24]
        common = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{digest}", "created": int(time.time()), "model": fields["model"],
            "object": "chat.completion" if chat else "text_completion", "system_fingerprint": self.name,
        }  # fmt: skip
        usage = {"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)}
        if not fields.get("stream"):
            text = "".join(pieces)
            said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, "finish_reason": "stop", "logprobs": None, **said}
            return send(writer, 200, {**common, "choices": [choice], "usage": usage})
        if chat:
            common["object"] = "chat.completion.chunk"
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await asyncio.sleep(script.silent)
        for number, piece in enumerate(pieces):
            if number and script.between:
                await asyncio.sleep(script.between)
            if number == script.hang_after:
                await asyncio.sleep(3600)
            if number == script.break_after:
                await writer.drain()
                writer.transport.abort()
                raise ConnectionResetError
            if number == script.end_after:
                writer.write(b"0\r\n\r\n")
                return None
            if number == script.error_after:
                event(writer, {"error": {"message": "as scripted"}})
                continue
            said = {"delta": {"role": "assistant", "content": piece} if not number else {"content": piece}} if chat else {
                "text": piece
            }  # fmt: skip
            finish = "stop" if number == len(pieces) - 1 else None
            event(writer, {**common, "choices": [{"index": 0, "finish_reason": finish, "logprobs": None, **said}]})
            await writer.drain()
        if (fields.get("stream_options") or {}).get("include_usage"):
            event(writer, {**common, "choices": [], "usage": usage})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        return None


def event(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    text = b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
    writer.write(b"%x\r\n%b\r\n" % (len(text), text))


def send(
    writer: asyncio.StreamWriter, status: int, body: dict[str, Any] | bytes, kind: str = "application/json"
) -> None:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text)


async def read_request(reader: asyncio.StreamReader) -> tuple[str, Seen] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return method, Seen(path=path, headers=headers, body=body)


async def main(name: str, models: tuple[str, ...]) -> None:
    upstream = Upstream(name=name, models=models or ("model",), keep=0)
    print(await upstream.start(), flush=True)
    assert upstream.server is not None
    await upstream.server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], tuple(sys.argv[2:])))
