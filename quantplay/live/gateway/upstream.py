"""Ask one arm, up to the first byte worth passing on. Until then a failure costs the client nothing: another arm can be asked."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import aiohttp
from yarl import URL

from quantplay.live.gateway.answers import Refused
from quantplay.records.traffic import ServedArm, Timeouts

Failure = Literal["connect", "timeout", "status", "broken", "unverified"]
OUR_FAULT = (401, 402, 403, 404, 405, 407, 408, 415, 421, 426, 429)
"""Statuses that the gateway's own key, model name or load brings about; a client can't, so the arm counts as failed."""
ERROR_EVENT = re.compile(rb"(?:^|\n)data:\s*\{\s*\"error\"\s*:\s*[^n\s]")
AGAIN_SECONDS = 0.5  # within these a connection that breaks was closed while it lay idle
HEAD_BYTES = 2**16  # of comments before a stream's first event
LARGE_BODY = 2**20  # above it aiohttp wants a file


class ArmFailed(Exception):
    """No answer from this arm, and nothing was passed on yet."""

    def __init__(self, kind: Failure, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


@dataclass(frozen=True, kw_only=True)
class Whole:
    """An answer that is there as a whole."""

    status: int
    body: bytes  # a JSON object
    id: str | None  # that the server gave it


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An answer that has begun: up to its first event, the rest is still to come."""

    response: aiohttp.ClientResponse
    kind: str
    head: bytes


@lru_cache(maxsize=1024)
def address(base: str, path: str) -> URL:
    return URL(base + path)


async def ask(
    session: aiohttp.ClientSession, arm: ServedArm, path: str, body: bytes, headers: dict[str, str], *,
    stream: bool, timeouts: Timeouts, ends_at: float, answer_bytes: int,
) -> Whole | Stream:  # fmt: skip
    """Raises ArmFailed. Cancelling it closes the connection, which is how a server learns that nobody waits any more.

    `ends_at`: monotonic time by which the whole answer has to be there.
    """
    began = time.monotonic()
    # An answer that is not streamed comes with its last token, so the time to the first one can't be held against it.
    by = min(ends_at, began + timeouts.first_token_seconds) if stream else ends_at
    try:
        async with asyncio.timeout(max(by - began, 0.001)):
            try:
                return await attempt(session, arm, path, body, headers, stream, timeouts, answer_bytes)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                kept = not isinstance(error, aiohttp.ClientConnectorError)
                if not kept or time.monotonic() - began > AGAIN_SECONDS:
                    raise
                return await attempt(session, arm, path, body, headers, stream, timeouts, answer_bytes)
    except aiohttp.ConnectionTimeoutError:
        raise ArmFailed("connect", f"no connection within {timeouts.connect_seconds:g} s") from None
    except aiohttp.ClientConnectorError as error:
        raise ArmFailed("connect", "no connection") from error
    except TimeoutError:
        raise ArmFailed("timeout", f"nothing within {by - began:.3g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ArmFailed("broken", f"the answer broke off ({type(error).__name__})") from error


async def attempt(
    session: aiohttp.ClientSession, arm: ServedArm, path: str, body: bytes, headers: dict[str, str], stream: bool,
    timeouts: Timeouts, answer_bytes: int,
) -> Whole | Stream:  # fmt: skip
    response = await session.post(
        address(arm.url, path),
        data=body if len(body) < LARGE_BODY else io.BytesIO(body),
        headers=headers,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_seconds),
    )
    try:
        status, kind = response.status, response.content_type
        if status >= 500 or status in OUR_FAULT or 300 <= status < 400:
            raise ArmFailed("status", f"status {status}")
        if stream and status == 200 and kind == "text/event-stream":
            return Stream(response=response, kind=response.headers["content-type"], head=await first_event(response))
        whole = whole_of(status, await read_whole(response, answer_bytes))
    except BaseException:
        response.close()
        raise
    response.release()
    return whole


def whole_of(status: int, body: bytes) -> Whole:
    """Raises ArmFailed for an answer that is no JSON object; a refusal that is none is told in OpenAI's form."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict):
        return Whole(status=status, body=body, id=fields["id"] if isinstance(fields.get("id"), str) else None)
    if status == 200:
        raise ArmFailed("broken", "the answer is not JSON")
    return Whole(status=status, body=Refused(status, "invalid_request", "the server refused the request").body, id=None)


async def first_event(response: aiohttp.ClientResponse) -> bytes:
    """The stream's bytes up to its first event. An error told before any token is a failure like any other."""
    head = b""
    while b"data:" not in head or not head.endswith(b"\n"):
        chunk = await response.content.readany()
        if not chunk:
            raise ArmFailed("broken", "the stream ended before its first event")
        head += chunk
        if len(head) > HEAD_BYTES:
            break
    if ERROR_EVENT.search(head):
        raise ArmFailed("broken", "the stream began with an error")
    return head


async def read_whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    parts, size = [], 0
    while chunk := await response.content.readany():
        parts.append(chunk)
        size += len(chunk)
        if size > most:
            raise ArmFailed("broken", f"the answer is larger than {most} bytes")
    return b"".join(parts)
