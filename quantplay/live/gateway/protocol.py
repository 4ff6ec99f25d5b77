"""uvicorn's HTTP protocol with bounds on a request's head, and with errors as JSON."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from quantplay.live.gateway.answers import Refused
from quantplay.live.gateway.limits import Limits

LIMITS = Limits()


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers are too long or too slow, or whose client reads nothing."""

    limits = LIMITS
    head_bytes: int | None = 0  # so far; None once the headers are complete
    head_timer: asyncio.TimerHandle | None = None
    reading_timer: asyncio.TimerHandle | None = None  # runs while the client leaves what it was sent unread

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.expect_head()

    def expect_head(self) -> None:
        self.head_bytes = 0
        self.head_timer = self.loop.call_later(self.limits.head_seconds, self.too_slow)

    def forget_head(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.reading_timer = self.loop.call_later(self.limits.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self.forget_reading()
        super().resume_writing()

    def forget_reading(self) -> None:
        if self.reading_timer is not None:
            self.reading_timer.cancel()
            self.reading_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.forget_head()
        self.forget_reading()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # What comes after the headers in one piece is counted with them: at most one read of the socket too much.
        if self.head_bytes is not None:
            self.head_bytes += len(data)
        super().data_received(data)
        if self.head_bytes is not None and self.head_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self.refuse(Refused(431, "headers_too_large", f"headers may have {self.limits.head_bytes} bytes in all"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.head_timer is None:  # a further request on a connection that is kept
            self.expect_head()

    def on_headers_complete(self) -> None:
        self.forget_head()
        self.head_bytes = None
        super().on_headers_complete()

    def too_slow(self) -> None:
        if not self.transport.is_closing():
            self.refuse(Refused(408, "request_timeout", "the headers did not arrive in time"))

    def send_400_response(self, msg: str) -> None:
        self.refuse(Refused(400, "invalid_request", msg))

    def refuse(self, refused: Refused) -> None:
        """Only where no answer is under way on this connection; otherwise it is just closed."""
        if self.cycle is None or self.cycle.response_complete:
            body = refused.body
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[refused.status] + head + body)
        self.transport.close()


def bounded(limits: Limits) -> Any:
    return type("Bounded", (BoundedProtocol,), {"limits": limits})
