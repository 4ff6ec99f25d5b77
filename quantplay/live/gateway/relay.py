"""An answer's bytes from the arm to the client, as they come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Literal

import aiohttp

from quantplay.live.gateway.answers import Headers, Send, send_whole
from quantplay.live.gateway.telemetry import Exchange
from quantplay.live.gateway.upstream import ERROR_EVENT, Stream, Whole

ID = re.compile(rb'"id"\s*:\s*"([\x21\x23-\x5b\x5d-\x7e]{1,200})"')
FINISH = re.compile(rb'"finish_reason"\s*:\s*"(\w{1,40})"')
PROMPT_TOKENS = re.compile(rb'"prompt_tokens"\s*:\s*(\d{1,12})')
COMPLETION_TOKENS = re.compile(rb'"completion_tokens"\s*:\s*(\d{1,12})')
TELL_SECONDS = 1.0  # for a client that reads nothing, after which it is not told
TAIL = 2048  # bytes at a stream's end: last token, usage, [DONE]
DONE = re.compile(rb"(?:^|\n)data:\s*\[DONE\]\s*$")


class Watchdog:
    """Breaks an answer off that stands still or lasts too long, with one timer for all its chunks."""

    def __init__(self, between: float, ends_at: float) -> None:
        self.loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.between, self.ends_at = between, ends_at
        self.waits_since: float | None = None  # for the arm; a client that reads slowly is not the arm's fault
        self.barked: Literal["between chunks", "in total"] | None = None
        self.timer = self.loop.call_at(min(self.loop.time() + between, ends_at), self.look)

    def look(self) -> None:
        now = self.loop.time()
        if now >= self.ends_at:
            self.bark("in total")
        elif self.waits_since is not None and now - self.waits_since >= self.between:
            self.bark("between chunks")
        else:
            since = now if self.waits_since is None else self.waits_since
            self.timer = self.loop.call_at(min(since + self.between, self.ends_at), self.look)

    def bark(self, why: Literal["between chunks", "in total"]) -> None:
        self.barked = why
        self.task.cancel()

    def stop(self) -> None:
        self.timer.cancel()


async def pass_on(
    send: Send, stream: Stream, headers: Headers, exchange: Exchange, between: float, ends_at: float
) -> None:
    """Send a stream to its end. After its first byte nobody else can answer: what breaks is told as an event, and broken off."""
    content, clock = stream.response.content, asyncio.get_running_loop().time
    exchange.status = stream.response.status
    exchange.first_at = clock()
    events, tail, chunk, broken = 0, b"", stream.head, None
    dog = Watchdog(between, ends_at)
    try:
        kind = [(b"content-type", stream.kind.encode("latin-1")), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": exchange.status, "headers": [*kind, *headers]})
        while chunk:
            events += chunk.count(b"\ndata:") + chunk.startswith(b"data:")
            tail = chunk if len(chunk) >= TAIL else (tail + chunk)[-TAIL:]
            if b'"error"' in chunk and ERROR_EVENT.search(chunk):
                exchange.failed = True
            exchange.last_at = clock()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            dog.waits_since = clock()
            chunk = await content.readany()
            dog.waits_since = None
    except (aiohttp.ClientError, OSError) as error:
        broken = f"the answer broke off ({type(error).__name__})"
    except asyncio.CancelledError:
        if dog.barked is None:
            raise
        dog.task.uncancel()
        broken = f"the answer took too long {dog.barked}"
    finally:
        dog.stop()
        if chunk:  # not read to its end
            stream.response.close()
        understand_end(exchange, tail, events)
    if broken is None and not DONE.search(tail):
        broken = "the answer ended without its last event"
    if broken is None:
        await send({"type": "http.response.body", "body": b""})
        return
    exchange.failed = True
    error = {"message": broken, "type": "server_error", "param": None, "code": "upstream_broken"}
    event = b"\n\ndata: " + json.dumps({"error": error}).encode() + b"\n\n"
    # Without the end of the chunked body, so that a client that looks at no event sees it as well.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TELL_SECONDS):
            await send({"type": "http.response.body", "body": event, "more_body": True})


def understand_end(exchange: Exchange, tail: bytes, events: int) -> None:
    finished = FINISH.findall(tail)
    exchange.finish = finished[-1].decode() if finished else None
    exchange.events = max(0, events - DONE_EVENT) if DONE.search(tail) else events
    read_usage(exchange, tail)


DONE_EVENT = 1  # [DONE] is an event of its own


def read_usage(exchange: Exchange, text: bytes) -> None:
    for pattern, name in ((PROMPT_TOKENS, "prompt_tokens"), (COMPLETION_TOKENS, "completion_tokens")):
        if found := pattern.findall(text):
            setattr(exchange, name, int(found[-1]))


async def pass_whole(send: Send, whole: Whole, headers: Headers, exchange: Exchange) -> None:
    exchange.status = whole.status
    finished = FINISH.search(whole.body)
    exchange.finish = finished[1].decode() if finished else None
    read_usage(exchange, whole.body)
    await send_whole(send, whole.status, whole.body, headers)


def id_of(answer: Whole | Stream) -> str | None:
    """The id that the server gave its answer, which the client reads as `id`; None where no header could carry it."""
    if isinstance(answer, Stream):
        found = ID.search(answer.head)
        return found[1].decode() if found else None
    return answer.id if answer.id is not None and ID.fullmatch(b'"id":"%s"' % answer.id.encode()) else None
