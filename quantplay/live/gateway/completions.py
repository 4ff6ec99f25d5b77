"""One request from its first byte to its last: who asks, which arm answers, what is written down."""

from __future__ import annotations

import asyncio
import time
import uuid

from quantplay.live.gateway.answers import Headers, Receive, Refused, Scope, Send, send_refused
from quantplay.live.gateway.arms import Standing
from quantplay.live.gateway.asked import Asked, ClientGone, Operation, conversation_of, header, read_body, understand
from quantplay.live.gateway.gateway import Gateway
from quantplay.live.gateway.relay import id_of, pass_on, pass_whole
from quantplay.live.gateway.telemetry import GONE, Exchange
from quantplay.live.gateway.upstream import ArmFailed, Stream, Whole, ask
from quantplay.records.traffic import ServedBy

PATHS: dict[Operation, str] = {"chat": "/chat/completions", "text_completion": "/completions"}
PASSED = (b"traceparent", b"tracestate", b"x-request-id")  # headers that go to the arm; a client's key never does
STATUS_OF = {"timeout": 504, "unverified": 503, "connect": 503}


class Completions:
    """ASGI application of one operation."""

    def __init__(self, gateway: Gateway, operation: Operation) -> None:
        self.gateway = gateway
        self.operation: Operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        try:
            client = self.gateway.keyring.client(scope)
            with self.gateway.admitted(), client.admitted():
                body = await read_body(scope, receive, self.gateway.limits)
                asked = understand(body, self.operation)
                exchange = self.exchange(scope, asked, client.key.sha256, began)
                await self.answered(scope, receive, send, asked, exchange)
        except Refused as refused:
            # What the client goes on sending is not read, so the connection can't be used again.
            await send_refused(send, refused, [(b"connection", b"close")] if refused.status in (408, 413) else [])
        except ClientGone:
            return

    def exchange(self, scope: Scope, asked: Asked, client: str, began: float) -> Exchange:
        conversation = conversation_of(asked, header(scope, b"x-conversation-id"), client)
        route = self.gateway.table.route(asked.endpoint, conversation)
        if route is None:
            raise Refused(404, "model_not_found", "no such endpoint, see GET /v1/models", param="model")
        return Exchange(
            route=route, conversation=conversation, client=client, id=f"qp-{uuid.uuid4().hex}", stream=asked.stream,
            fields=asked.fields, began=began,
        )  # fmt: skip

    async def answered(self, scope: Scope, receive: Receive, send: Send, asked: Asked, exchange: Exchange) -> None:
        """Answer, and break off at once where the client goes away."""
        self.gateway.telemetry.began(exchange)
        presence = Presence(receive)
        try:
            await self.served(scope, send, asked, exchange, presence)
        except asyncio.CancelledError:
            exchange.status = GONE
            if not presence.gone:
                raise
            presence.task.uncancel()
        except Refused as refused:
            exchange.status, exchange.failed = refused.status, refused.status >= 500
            await send_refused(send, refused, headers_of(exchange))
        finally:
            presence.end()
            self.gateway.telemetry.ended(exchange)

    async def served(self, scope: Scope, send: Send, asked: Asked, exchange: Exchange, presence: Presence) -> None:
        timeouts = exchange.route.policy.timeouts
        ends_at = exchange.began + timeouts.total_seconds
        answer = await self.first_answer(scope, asked, exchange, presence, ends_at)
        exchange.id = id_of(answer) or exchange.id
        headers = headers_of(exchange)
        if isinstance(answer, Stream):
            await pass_on(send, answer, headers, exchange, timeouts.between_chunks_seconds, ends_at)
        else:
            await pass_whole(send, answer, headers, exchange)

    async def first_answer(
        self, scope: Scope, asked: Asked, exchange: Exchange, presence: Presence, ends_at: float
    ) -> Whole | Stream:
        """From the assigned arm, else from full precision. Raises Refused where neither answers."""
        arms: tuple[ServedBy, ...] = ("quantized", "full_precision")
        standings = self.gateway.standings(
            exchange.route.policy
        )  # now, since the policy may change while one arm is asked
        failed = ArmFailed("unverified", "not served")
        for name in arms[arms.index(exchange.route.assigned) :]:
            exchange.served = name
            try:
                return await self.ask(scope, asked, exchange, standings[name], ends_at)
            except ArmFailed as error:
                failed = error
            if presence.gone:  # it went in the very moment the arm failed
                raise asyncio.CancelledError
        raise Refused(
            STATUS_OF.get(failed.kind, 502), "upstream_failed", f"no server could answer: {failed.message}",
            retry_after=5 if failed.kind in ("unverified", "connect") else None,
        )  # fmt: skip

    async def ask(
        self, scope: Scope, asked: Asked, exchange: Exchange, standing: Standing, ends_at: float
    ) -> Whole | Stream:
        gateway, policy = self.gateway, exchange.route.policy
        arm = policy.arm(exchange.served)
        if not standing.known.is_set() and exchange.served == "full_precision":
            await standing.known.wait()
        if standing.fault is not None:
            raise ArmFailed("unverified", "its server does not serve what it should, or does not answer")
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        headers |= {key.decode(): value.decode("latin-1") for key, value in scope["headers"] if key in PASSED}
        if standing.authorization is not None:
            headers["authorization"] = standing.authorization
        return await ask(
            gateway.session, arm, PATHS[self.operation], asked.body_for(arm.model), headers, stream=asked.stream,
            timeouts=policy.timeouts, ends_at=ends_at, answer_bytes=gateway.limits.answer_bytes,
        )  # fmt: skip


class Presence:
    """Is the client still there? When it goes, the request is cancelled, and with it the arm's connection closed."""

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task, self.gone = task, False
        self.watch = asyncio.get_running_loop().create_task(self.wait(receive))

    async def wait(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.task.cancel()

    def end(self) -> None:
        self.watch.cancel()


def headers_of(exchange: Exchange) -> Headers:
    policy = exchange.route.policy
    return [
        (b"x-quantplay-endpoint", policy.endpoint.encode()),
        (b"x-quantplay-revision", b"%d" % policy.revision),
        (b"x-quantplay-assigned", exchange.route.assigned.encode()),
        (b"x-quantplay-served", exchange.served.encode()),
        (b"x-quantplay-response-id", exchange.id.encode()),
    ]
