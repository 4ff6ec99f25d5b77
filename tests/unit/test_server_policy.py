"""What the Prefect pages may reach: the server they came from, and nothing else on a network."""

from __future__ import annotations

import asyncio

import pytest

from flows.server import OnlyThisServer, policy

LOCAL = {"'self'", "'none'", "'unsafe-eval'", "'unsafe-inline'", "data:", "blob:"}  # none of them is another host


def sources(text: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in (rule.split() for rule in text.split(";"))}


@pytest.mark.parametrize(
    "api_url", ["/api", "", "http://prefect.example.com:4200/api", "https://prefect.example.com/api"]
)
def test_only_the_api_itself_may_be_reached_outside_the_page(api_url: str) -> None:
    beyond = {one for allowed in sources(policy(api_url)).values() for one in allowed} - LOCAL
    hosts = {one.split("//")[1] for one in beyond}
    assert hosts == ({api_url.split("/")[2]} if "//" in api_url else set())


def test_every_kind_of_request_that_is_not_named_falls_back_to_the_server_itself() -> None:
    assert sources(policy("/api"))["default-src"] == ["'self'"]


def test_a_secure_page_uses_secure_sockets() -> None:
    assert "wss://prefect.example.com" in sources(policy("https://prefect.example.com/api"))["connect-src"]


@pytest.mark.parametrize(("kind", "marked"), [("http", True), ("websocket", False), ("lifespan", False)])
def test_every_answer_to_a_browser_carries_the_policy(kind: str, marked: bool) -> None:
    sent: list[dict] = []

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"Origin")]})

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(OnlyThisServer(app, "default-src 'self'")({"type": kind}, None, send))  # type: ignore[arg-type]
    headers = dict(sent[0]["headers"])
    assert headers[b"vary"] == b"Origin"
    assert (headers.get(b"content-security-policy") == b"default-src 'self'") is marked
