"""Answers of the gateway itself: JSON, errors in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Refused(Exception):
    """A request that gets an error for an answer."""

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.retry_after = status, code, message, param, retry_after

    @property
    def body(self) -> bytes:
        kind = KINDS.get(self.status) or ("server_error" if self.status >= 500 else "invalid_request_error")
        return json.dumps(
            {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
        ).encode()

    @property
    def headers(self) -> Headers:
        headers = [] if self.retry_after is None else [(b"retry-after", b"%d" % self.retry_after)]
        return [*headers, (b"www-authenticate", b"Bearer")] if self.status == 401 else headers


async def send_whole(
    send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = (), kind: bytes = b"application/json"
) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), length, *headers]}
    )
    await send({"type": "http.response.body", "body": body})


async def send_refused(send: Send, refused: Refused, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    await send_whole(send, refused.status, refused.body, [*refused.headers, *headers])
