"""The process that answers with pages, until it is told to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import uvicorn

from quantplay.live.gateway.serve import listen
from quantplay.web.app import Site, app_of

log = logging.getLogger("quantplay.web")


def serve(
    site: Site, *, host: str, port: int, names: Iterable[str] = (), on_ready: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until SIGTERM or SIGINT. Raises InputError where the address can't be had."""
    place = listen(host, port)
    address = place.getsockname()
    config = uvicorn.Config(
        app_of(site, names), http="h11", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, h11_max_incomplete_event_size=32 << 10, limit_concurrency=200, timeout_graceful_shutdown=5,
    )  # fmt: skip
    on_ready(f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}")
    uvicorn.Server(config).run(sockets=[place])
