"""A worker's look at a Prefect server that is away is tried again at its next turn; what it asked wrongly is not."""

from __future__ import annotations

import asyncio
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest

from flows.outlive import forgiving


def test_a_server_that_is_away_gives_nothing_until_it_is_back() -> None:
    codes = {"/good": 200, "/busy": 503, "/wrong": 404}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(codes[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    said: list[str] = []

    async def look(path: str) -> list[str]:
        async with httpx.AsyncClient() as client:
            (await client.get(address + path, timeout=2)).raise_for_status()
            return ["a run"]

    looks = forgiving(look, list, said.append)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        assert asyncio.run(looks("/good")) == ["a run"]
        assert asyncio.run(looks("/busy")) == []
        assert asyncio.run(looks("/good")) == ["a run"]
        with pytest.raises(httpx.HTTPStatusError):
            asyncio.run(looks("/wrong"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert asyncio.run(looks("/good")) == []
    assert asyncio.run(looks("/good")) == []
    away, back = "the Prefect server does not answer; waiting for it", "the Prefect server is back"
    assert said == [away, back, away]
