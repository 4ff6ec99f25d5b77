"""Prefect's own server with three differences: it sends no analytics, its pages may call no other host, and no other site's page may call it.

The new interface calls an analytics host even where analytics are off, so the browser is told, by a content-security-policy, to talk to
this server alone. Everything else is Prefect's `create_app` with all of its services, as `prefect server start` runs it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from flows.known_hosts import OnlyKnownHosts, host_of
from quantplay.settings import read_server_hosts

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Prefect reads its settings once, when it is imported.
ENVIRONMENT = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"}
# A run whose deployment has a limit holds a lease. Kept in memory, as by default, a restart forgets it, and Prefect ends the run.
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
SAME_SERVER = "/api"  # the pages ask the server they came from, under whatever name and port it was reached
NO_ORIGIN = "none"  # no browser sends it


def policy(api_url: str) -> str:
    """The Content-Security-Policy for pages that talk to `api_url`.

    `unsafe-eval` and `blob:` are for the graph of a run: it compiles its shaders' setters and decodes pictures in a worker. `data:` and
    `blob:` never leave the browser.
    """
    parts = urlsplit(api_url)
    origins = [f"{scheme}://{parts.netloc}" for scheme in sockets(parts.scheme)] if parts.netloc else []
    rules = {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-eval'", "blob:"],
        "worker-src": ["'self'", "blob:"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "font-src": ["'self'", "data:"],
        "img-src": ["'self'", "data:", "blob:"],
        "connect-src": ["'self'", "data:", "blob:", *origins],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'self'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in rules.items())


def sockets(scheme: str) -> tuple[str, str]:
    return ("https", "wss") if scheme == "https" else ("http", "ws")


class OnlyThisServer:
    """ASGI middleware that adds the policy to every answer."""

    def __init__(self, app: App, policy: str) -> None:
        self.app, self.header = app, (b"content-security-policy", policy.encode("ascii"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self.header]
            await send(message)

        await self.app(scope, receive, send_with_policy if scope["type"] == "http" else send)


def create_app() -> Any:
    """The server as an ASGI application; for `uvicorn --factory flows.server:create_app` too."""
    os.environ.update(ENVIRONMENT)
    os.environ.setdefault("PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE", LEASES)
    api_url = os.environ.setdefault("PREFECT_UI_API_URL", SAME_SERVER)
    if api_url == SAME_SERVER:  # then no page of another origin has any business here; Prefect lets every page in
        os.environ.setdefault("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", NO_ORIGIN)
    from prefect.server.api.server import create_app as create_prefect

    app = create_prefect(final=True)
    app.add_middleware(OnlyThisServer, policy=policy(api_url))
    addresses = (host_of(os.environ.get("PREFECT_API_URL")), host_of(api_url) if "://" in api_url else None)
    app.add_middleware(OnlyKnownHosts, names=[*read_server_hosts(), *filter(None, addresses)])
    return app


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.server", description="Prefect's server, without calls to other hosts."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--fd", type=int, help="an inherited socket that listens already, in place of host and port")
    given = parser.parse_args(arguments)
    app = create_app()
    import uvicorn
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    config = uvicorn.Config(
        app, host=given.host, port=given.port, timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval, ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=None if given.fd is None else [socket.socket(fileno=given.fd)])


if __name__ == "__main__":
    main()
