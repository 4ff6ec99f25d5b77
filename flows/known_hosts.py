"""Which names the Prefect server answers to: a page of another site must not reach it under a name of its own (DNS rebinding).

A browser lets a page talk to the server it came from. Whoever owns a name can let it point to 127.0.0.1 after their page was loaded, and
the page then talks to the server here as if it had come from it. So the name a request was sent to has to be one of the server's own. An IP
address is no such name, which leaves the probes of Compose and Kubernetes alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LOOPBACK = "localhost"
ANY = "*"
ITSELF = "prefect-in-memory"
"""How Prefect's own services, its automations among them, call the server: inside its process, through no connection."""
REFUSED = (
    b"This Prefect server does not answer to this name. Reach it as localhost or by its address, or add the name to "
    b"QUANTPLAY_SERVER_HOSTS where the server starts.\n"
)


def host_of(address: str | None) -> str | None:
    """The name in a URL or in `host:port`, without port and brackets; None where there is none."""
    if not address:
        return None
    try:
        return urlsplit(address if "//" in address else f"//{address}").hostname
    except ValueError:
        return None


def is_known(host: str | None, names: Iterable[str]) -> bool:
    """Whether a request sent to `host` was meant for this server. names: in small letters; `*`: any."""
    names = set(names)
    if ANY in names:
        return True
    if host is None:
        return False
    name = host.rstrip(".")
    return name in names or name == LOOPBACK or name.endswith(f".{LOOPBACK}") or is_address(name)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class OnlyKnownHosts:
    """ASGI middleware that refuses what was sent to another name, pages and web sockets alike."""

    def __init__(self, app: App, names: Iterable[str], refused: bytes = REFUSED) -> None:
        self.app, self.names, self.refused = app, frozenset(names), refused

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or is_itself(scope) or is_known(host_in(scope), self.names):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": self.refused})


def is_itself(scope: MutableMapping[str, Any]) -> bool:
    """Whether the server asks itself. Of a connection `server` is the address it came in at, which nobody can choose."""
    return (scope.get("server") or ("",))[0] == ITSELF


def host_in(scope: MutableMapping[str, Any]) -> str | None:
    """The name a request was sent to; None where it says none, or two."""
    said = [value for name, value in scope["headers"] if name == b"host"]
    return host_of(said[0].decode("latin-1")) if len(said) == 1 else None
