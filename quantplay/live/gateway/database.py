"""The gateway's ports on the product database. Every call is in a thread of its own; none is on the path of a request."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from quantplay.live.drift.fingerprint import PREFIX
from quantplay.live.gateway.ports import Waiting
from quantplay.records.traffic import CounterRow, FeedbackRow, RequestRow, ServedBy, TrafficPolicy
from quantplay.store.listen import Listener
from quantplay.store.registry import Store
from quantplay.store.telemetry import TOTAL

READ_AGAIN_SECONDS = 2.0  # where a notification was lost, a change is seen after this
LATE_MINUTES = 15  # a minute this old gets no more counts

Counter = tuple[str, str, int, ServedBy, str]  # source, endpoint, revision, arm, name


Opener = Callable[[], Store]
"""Opens the database, or gives the open one; asked again while it can't be had, so a gateway starts without it."""


@dataclass(frozen=True, kw_only=True)
class DatabaseSource:
    """Policies by notification, and read again every two seconds."""

    open: Opener

    async def policies(self) -> AsyncIterator[tuple[TrafficPolicy, ...]]:
        store = await asyncio.to_thread(self.open)
        listener = await asyncio.to_thread(Listener, store.engine)
        try:
            while True:
                yield await asyncio.to_thread(store.traffic_policies)
                await asyncio.to_thread(listener.wait, READ_AGAIN_SECONDS)
        finally:
            await asyncio.to_thread(listener.close)


@dataclass(kw_only=True)
class DatabaseSink:
    """Counters a minute, and their sums since this process began, which is what the judge reads."""

    open: Opener
    seen: dict[tuple[Counter, int], int] = field(default_factory=dict)  # counter, minute -> value that was written
    sums: dict[Counter, int] = field(default_factory=dict)

    async def write(self, rows: Sequence[CounterRow], requests: Sequence[RequestRow]) -> None:
        seen, sums = dict(self.seen), dict(self.sums)
        summed = [row for row in rows if not row.name.startswith(PREFIX)]  # drift is looked for in days, not in sums
        for row in summed:
            counter = counter_of(row)
            before = seen.get((counter, row.minute), 0)
            seen[counter, row.minute] = max(before, row.value)
            sums[counter] = sums.get(counter, 0) + max(0, row.value - before)
        totals = [row.model_copy(update={"minute": TOTAL, "value": sums[counter_of(row)]}) for row in latest(summed)]
        await asyncio.to_thread(lambda: self.open().write_live([*rows, *totals], requests))
        newest = max((minute for _, minute in seen), default=0)
        self.seen = {key: value for key, value in seen.items() if key[1] > newest - LATE_MINUTES}
        self.sums = sums


@dataclass(kw_only=True)
class DatabaseOthers:
    """The gateways on one database."""

    open: Opener
    since: datetime | None = None  # of the last look, by the database's clock

    async def beat(self, source: str, versions: Mapping[str, int]) -> None:
        name = f"{socket.gethostname()} {os.getpid()}"
        await asyncio.to_thread(lambda: self.open().gateway_is_there(source, name, versions))

    async def exchange(self, given: Sequence[FeedbackRow], settled: Sequence[FeedbackRow]) -> Waiting:
        found = await asyncio.to_thread(lambda: self.open().exchange_feedback(given, settled, self.since))
        self.since = found.until
        return Waiting(rows=found.rows, expired=found.expired, refused=found.refused)


def counter_of(row: CounterRow) -> Counter:
    return row.source, row.endpoint, row.revision, row.arm, row.name


def latest(rows: Sequence[CounterRow]) -> list[CounterRow]:
    """One row a counter, whatever its minute."""
    return list({counter_of(row): row for row in rows}.values())
