"""What is written down of requests and reactions, and how it reaches the sink: once a second, never on the path of a request."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from quantplay.errors import ServiceUnavailable
from quantplay.live.gateway.counters import Counters, Queue
from quantplay.live.gateway.ledger import Answered, Exposed, Ledger
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.ports import Sink
from quantplay.live.gateway.redact import stored_text
from quantplay.live.gateway.table import Route
from quantplay.live.gateway.watch import Watch
from quantplay.live.speed import bucket_of
from quantplay.records.traffic import RequestRow, ServedBy

log = logging.getLogger("quantplay.gateway")
BATCH = 2000  # request rows a write
GONE = 499  # status of a request whose client went away


@dataclass(kw_only=True)
class Exchange:
    """One request as it goes on. Times are of the monotonic clock."""

    route: Route
    conversation: str
    client: str
    id: str
    stream: bool
    fields: dict[str, Any]
    began: float
    at: float = field(default_factory=time.time)
    served: ServedBy = "full_precision"
    status: int = 0
    failed: bool = False  # for the client: no answer, or half of one
    first_at: float | None = None
    last_at: float | None = None
    events: int = 0  # of the stream; about one a token
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish: str | None = None
    opening: bool = False  # the first of its conversation

    @property
    def exposed(self) -> Exposed:
        policy = self.route.policy
        return Exposed(policy.endpoint, policy.revision, self.route.assigned, self.conversation)


class Telemetry:
    def __init__(self, sink: Sink, limits: Limits) -> None:
        self.sink, self.limits = sink, limits
        self.counters = Counters(limits.counter_rows)
        self.queue = Queue(limits.queued_requests)
        self.ledger = Ledger(limits.remembered)
        self.watch, self.handed_at = Watch(limits.looked_a_minute), time.monotonic()
        self.served: dict[tuple[str, ServedBy, int], int] = {}  # (endpoint, arm that answered, status) -> requests
        self.fault: str | None = None  # why the sink takes nothing just now
        self.flushing = asyncio.Lock()

    def began(self, exchange: Exchange) -> None:
        exchange.opening = self.ledger.enter(exchange.exposed)
        if exchange.opening:
            self.count(exchange.exposed, "conversations")
        self.count(exchange.exposed, "requests")

    def count(self, exposed: Exposed, name: str, number: int = 1) -> None:
        self.counters.add(exposed.endpoint, exposed.revision, exposed.arm, name, number)

    def once(self, exposed: Exposed, name: str) -> bool:
        """Count what counts once a conversation."""
        if not self.ledger.first(exposed, name):
            return False
        self.count(exposed, name)
        return True

    def ended(self, exchange: Exchange) -> None:
        now, exposed, policy = time.monotonic(), exchange.exposed, exchange.route.policy
        if exchange.failed:
            self.once(exposed, "error")
        if exchange.served != exchange.route.assigned:
            self.once(exposed, "other_arm")
        if tokens := exchange.completion_tokens or exchange.events:
            self.count(exposed, "tokens", tokens)
        if exchange.stream:
            waited = (exchange.first_at or now) - exchange.began
            if waited > policy.timeouts.slow_first_token_seconds:
                self.once(exposed, "slow_first_token")
            self.measure(exchange, exposed)
        if exchange.status < 400:
            self.ledger.remember(exchange.id, Answered(exposed, exchange.client))
            if exchange.opening:
                self.watch.look(exchange)
        place = (policy.endpoint, exchange.served, exchange.status)
        self.served[place] = self.served.get(place, 0) + 1
        self.queue.put(self.row(exchange, now))

    def measure(self, exchange: Exchange, exposed: Exposed) -> None:
        if exchange.first_at is None:
            return
        self.count(exposed, f"ttft:{bucket(exchange.first_at - exchange.began)}")
        # Answers by the other arm say nothing about the speed of this one.
        if exchange.last_at is None or exchange.events < 2 or exchange.served != exchange.route.assigned:
            return
        if self.ledger.first(exposed, "decode"):
            tokens = max(exchange.events, exchange.completion_tokens or 0)
            self.count(exposed, f"decode:{bucket((exchange.last_at - exchange.first_at) / (tokens - 1))}")

    def row(self, exchange: Exchange, now: float) -> RequestRow:
        policy, first = exchange.route.policy, exchange.first_at
        sampled = policy.sampling > 0 and share_of(exchange.id) < policy.sampling
        return (
            RequestRow.model_construct(  # all of it comes from here: checking it again would cost more than counting it
                at=exchange.at,
                id=exchange.id,
                endpoint=policy.endpoint,
                revision=policy.revision,
                assigned=exchange.route.assigned,
                served=exchange.served,
                status=exchange.status,
                prompt_tokens=exchange.prompt_tokens,
                completion_tokens=exchange.completion_tokens,
                first_token_ms=None if first is None else round((first - exchange.began) * 1000, 3),
                total_ms=round((now - exchange.began) * 1000, 3),
                finish=exchange.finish,
                text=stored_text(exchange.fields, self.limits.text_characters) if sampled else None,
            )
        )

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.limits.flush_seconds)
            if time.monotonic() - self.handed_at >= self.limits.handed_seconds:
                self.hand_over()
            await self.flush()

    def hand_over(self) -> None:
        """What conversations are like so far today, to the other counts."""
        self.handed_at = time.monotonic()
        self.watch.hand_over(self.counters)

    async def flush(self) -> bool:
        """Hand the sink all that waits; false where it took nothing."""
        async with self.flushing:
            return await self.handed_over()

    async def handed_over(self) -> bool:
        pending, requests = self.counters.pending(), self.queue.take(BATCH)
        if not pending and not requests:
            return True
        try:
            await self.sink.write([self.counters.row(*each) for each in pending], requests)
        except (ServiceUnavailable, asyncio.CancelledError) as error:
            self.queue.give_back(requests)
            if isinstance(error, asyncio.CancelledError):
                raise
            if self.fault is None:
                log.warning("counts wait, the sink does not take them: %s", error.what)
            self.fault = error.what
            return False
        if self.fault is not None:
            log.warning("the sink takes counts again")
        self.fault = None
        self.counters.confirmed(pending)
        return True


def bucket(seconds: float) -> int:
    return bucket_of(max(seconds * 1000, 0.001))


def share_of(response: str) -> float:
    """Where a response id lies in [0, 1)."""
    return int.from_bytes(hashlib.sha256(response.encode()).digest()[:7], "big") / 2**56
