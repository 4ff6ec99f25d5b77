"""The process of a gateway: its ports, its signals, its end."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from quantplay.errors import InputError
from quantplay.live.gateway.app import admin_app, public_app
from quantplay.live.gateway.gateway import gateway_open
from quantplay.live.gateway.history import History
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.ports import Others, PolicySource, Sink
from quantplay.live.gateway.protocol import bounded

ADMIN_HOST = "127.0.0.1"
BACKLOG = 2048


class Server(uvicorn.Server):
    """One of two in a process, so signals are not its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Raises InputError where the address can't be had."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, number)
    except OSError as error:
        raise InputError("no such address to listen on", value=f"{host}:{port}: {error.strerror}") from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise InputError(
            "can't listen there", value=f"{host}:{port}: {error.strerror}", fix="choose another --port or --host"
        ) from None
    return found


def require_keys(host: str, keys: Path | None) -> None:
    """Other machines are served only with keys."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if keys is None and not local:
        raise InputError(
            "without a file of keys only this machine can be served", value=f"--host {host}",
            allowed="127.0.0.1, ::1 or localhost", fix="set QUANTPLAY_GATEWAY_KEYS to a file of keys",
        )  # fmt: skip


async def serve(
    source: PolicySource, sink: Sink, *, host: str, port: int, others: Others | None = None, history: History | None = None,
    admin_port: int | None = None, keys: Path | None = None, snapshot: Path | None = None, limits: Limits | None = None,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT; then no new connections, streams to their end, last counts to the sink.

    A second signal breaks the streams off. `on_ready` gets the address, once requests are answered. history: what the admin port's
    page tells of the judge.
    """
    limits = limits or Limits()
    require_keys(host, keys)
    sockets = [listen(host, port)]
    if admin_port is not None:
        sockets.append(listen(ADMIN_HOST, admin_port))
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    async with gateway_open(source, sink, others=others, keys=keys, snapshot=snapshot, limits=limits) as gateway:
        apps = [public_app(gateway, with_metrics=admin_port is None), admin_app(gateway, history)][: len(sockets)]
        servers = [
            Server(uvicorn.Config(
                app, http=bounded(limits), loop="asyncio", ws="none", lifespan="off", log_config=None, access_log=False,
                server_header=False, proxy_headers=False, timeout_keep_alive=75,
            ))
            for app in apps
        ]  # fmt: skip

        def stop() -> None:
            for server in servers:
                server.force_exit = server.should_exit
                server.should_exit = True

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        address = sockets[0].getsockname()
        running = [
            asyncio.create_task(server.serve(sockets=[each])) for server, each in zip(servers, sockets, strict=True)
        ]
        while not all(server.started for server in servers):
            await asyncio.sleep(0.01)
        gc.collect()
        gc.freeze()  # what was imported stays: looking through it again and again would cost requests their time
        on_ready(f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}")
        await asyncio.gather(*running)
