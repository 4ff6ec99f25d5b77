"""An address that stays while what stands behind it changes, as a service in front of replicas: bytes, no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quantplay.harness.server import HOST

CHUNK = 1 << 16


class Address:
    """Passes connections on to the port `behind`; those that are open stay where they are until either side closes them."""

    def __init__(self, behind: int) -> None:
        self.behind = behind
        self.url = ""
        self.open: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        try:
            there = await asyncio.open_connection(HOST, self.behind)
        except OSError:
            writer.close()
            self.open.discard(task)
            return
        ways = [asyncio.create_task(passed(reader, there[1])), asyncio.create_task(passed(there[0], writer))]
        try:
            # Cancelled at the end of the address; asyncio's servers print a task that ends so as a fault.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, there[1]):
                end.close()
            self.open.discard(task)


@asynccontextmanager
async def address_of(port: int) -> AsyncIterator[Address]:
    """An address for what listens on `port`, for now."""
    found = Address(port)
    server = await asyncio.start_server(found.connected, HOST, 0)
    found.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield found
    finally:
        server.close()
        for task in found.open:
            task.cancel()
        await asyncio.gather(*found.open, return_exceptions=True)


async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
