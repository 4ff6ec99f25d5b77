"""The Prefect server answers to its own names and to addresses; a name somebody else let point to it gets nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flows.known_hosts import OnlyKnownHosts
from quantplay.errors import InputError
from quantplay.settings import read_server_hosts

NAMES = ("prefect", "prefect.example.com")


def asked(host: str | None, names: tuple[str, ...] = NAMES, kind: str = "http") -> list[Any]:
    """What a request with this Host header gets; `app` where the server itself answers."""
    sent: list[Any] = []

    async def app(scope, receive, send) -> None:
        sent.append("app")

    async def send(message) -> None:
        sent.append(message)

    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    asyncio.run(OnlyKnownHosts(app, names)({"type": kind, "headers": headers}, None, send))  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize(
    "host",
    [
        "localhost:4200", "LOCALHOST", "localhost.", "app.localhost:80", "127.0.0.1:4200", "[::1]:4200", "10.42.0.7:4200",
        "prefect:4200", "Prefect.Example.com", "prefect.example.com:443",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_its_own_names_and_addresses(host: str, kind: str) -> None:
    assert asked(host, kind=kind) == ["app"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.net:4200", "localhost.evil.example", "127.0.0.1.evil.example", "evil-prefect.example.com", "notlocalhost",
        "prefect.example.com.evil.example", "user@evil.example", "localhost@evil.example", "[::1", "", None, "prefect evil",
    ],
)  # fmt: skip
def test_another_name_gets_nothing(host: str | None) -> None:
    assert asked(host)[0]["status"] == 400
    assert asked(host, kind="websocket") == [{"type": "websocket.close", "code": 1008}]
    assert asked(host, ("*",)) == ["app"]


def test_the_server_reaches_itself_and_nobody_else_under_that_name() -> None:
    import httpx

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def asks_itself() -> int:
        transport = httpx.ASGITransport(app=OnlyKnownHosts(app, NAMES))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://prefect-in-memory/api") as client:
            return (await client.post("/flow_runs/1/set_state")).status_code

    assert asyncio.run(asks_itself()) == 204
    assert asked("prefect-in-memory")[0]["status"] == 400  # through a connection


def test_the_servers_own_life_is_no_request() -> None:
    assert asked(None, kind="lifespan") == ["app"]


def test_names_are_read_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTPLAY_SERVER_HOSTS", " Prefect, prefect.example.com,")
    assert read_server_hosts() == NAMES
    monkeypatch.setenv("QUANTPLAY_SERVER_HOSTS", "*")
    assert read_server_hosts() == ("*",)
    monkeypatch.delenv("QUANTPLAY_SERVER_HOSTS")
    assert read_server_hosts() == ()


@pytest.mark.parametrize("text", ["http://prefect", "prefect:4200", "*.example.com", "a b"])
def test_what_is_no_name_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUANTPLAY_SERVER_HOSTS", text)
    with pytest.raises(InputError, match="QUANTPLAY_SERVER_HOSTS"):
        read_server_hosts()
