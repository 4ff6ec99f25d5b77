"""The addresses of the gateway."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from quantplay.live.gateway.admin import Page
from quantplay.live.gateway.answers import Receive, Refused, Scope, Send, send_refused
from quantplay.live.gateway.completions import Completions
from quantplay.live.gateway.description import describe
from quantplay.live.gateway.feedback import Feedback
from quantplay.live.gateway.gateway import Gateway
from quantplay.live.gateway.history import History
from quantplay.live.gateway.metrics import metrics_text

Handler = Callable[[Request], Awaitable[Response]]
OUR_FAULT = (500, "internal_error", "a fault of the gateway; its log says more")
log = logging.getLogger("quantplay.gateway")


def json_response(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


def refused_response(refused: Refused) -> Response:
    headers = {key.decode(): value.decode() for key, value in refused.headers}
    return Response(refused.body, refused.status, headers, "application/json")


async def http_error(_: Request, error: Exception) -> Response:
    """404 and 405, in OpenAI's form."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    response = refused_response(Refused(error.status_code, code, f"{error.detail}; see GET /openapi.json"))
    response.headers.update(error.headers or {})
    return response


async def our_fault(_: Request, __: Exception) -> Response:
    return refused_response(Refused(*OUR_FAULT))


class Direct:
    """ASGI application that leads to what streams without Starlette in between, whose layers would see every chunk."""

    def __init__(self, posts: Mapping[str, Completions], rest: Starlette) -> None:
        self.posts, self.rest = posts, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.posts.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if app is None:
            return await self.rest(scope, receive, send)
        try:
            await app(scope, receive, send)
        except Exception:
            log.exception("a fault of the gateway")
            # Where an answer has begun already this raises, and uvicorn closes the connection.
            await send_refused(send, Refused(*OUR_FAULT))


def public_app(gateway: Gateway, *, with_metrics: bool = True) -> Direct:
    """What clients reach."""
    posts = {
        "/v1/chat/completions": Completions(gateway, "chat"),
        "/v1/completions": Completions(gateway, "text_completion"),
    }
    routes: list[BaseRoute] = [
        *(Route(path, app, methods=["POST"]) for path, app in posts.items()),  # for their 405
        Route("/v1/feedback", Feedback(gateway), methods=["POST"]),
        Route("/v1/models", known(gateway, models(gateway)), methods=["GET"]),
        Route("/v1/models/{model}", known(gateway, model(gateway)), methods=["GET"]),
        Route("/openapi.json", known(gateway, description(gateway, with_metrics)), methods=["GET"]),
        *health(gateway),
    ]
    if with_metrics:
        routes.append(Route("/metrics", known(gateway, metrics(gateway)), methods=["GET"]))
    return Direct(posts, starlette(routes))


def admin_app(gateway: Gateway, history: History | None = None) -> Starlette:
    """What operators reach, on a port of its own that clients do not reach. history: what the page tells of the judge."""
    page = Page(gateway, history)
    routes = [Route("/", page.answer, methods=["GET"]), Route("/metrics", metrics(gateway), methods=["GET"])]
    return starlette([*health(gateway), *routes])


def starlette(routes: list[BaseRoute]) -> Starlette:
    app = Starlette(routes=routes, exception_handlers={HTTPException: http_error, Exception: our_fault})
    app.router.redirect_slashes = False
    return app


def health(gateway: Gateway) -> list[BaseRoute]:
    async def healthz(_: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(_: Request) -> Response:
        reason = gateway.unready
        return json_response({"status": "ready"}) if reason is None else refused_response(
            Refused(503, "not_ready", reason, retry_after=1)
        )  # fmt: skip

    return [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]


def known(gateway: Gateway, handler: Handler) -> Handler:
    """`handler` for those who have a key."""

    async def checked(request: Request) -> Response:
        try:
            with gateway.keyring.client(request.scope).admitted():
                return await handler(request)
        except Refused as refused:
            return refused_response(refused)

    return checked


def entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "quantplay"}


def models(gateway: Gateway) -> Handler:
    async def handler(_: Request) -> Response:
        return json_response({"object": "list", "data": [entry(name) for name in sorted(gateway.table.policies)]})

    return handler


def model(gateway: Gateway) -> Handler:
    async def handler(request: Request) -> Response:
        name = request.path_params["model"]
        if name not in gateway.table.policies:
            raise Refused(404, "model_not_found", "no such endpoint, see GET /v1/models", param="model")
        return json_response(entry(name))

    return handler


def metrics(gateway: Gateway) -> Handler:
    async def handler(_: Request) -> Response:
        text = metrics_text(gateway.telemetry, gateway.table, gateway.checks, gateway.elsewhere, gateway.running)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return handler


def description(gateway: Gateway, with_metrics: bool) -> Handler:
    async def handler(_: Request) -> Response:
        return json_response(describe(sorted(gateway.table.policies), with_metrics=with_metrics))

    return handler
