"""Policies to the platform's gateway as they change, and what it counted to the store. The two never wait for each other: a Prometheus
that hangs must not hold up a rollback."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from quantplay.errors import InputError, QuantplayError, ServiceUnavailable
from quantplay.live.gateway.counters import Counters
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.ports import PolicySource, Sink
from quantplay.live.gateway.table import Table
from quantplay.live.platform.ports import PlatformGateway
from quantplay.records.traffic import TrafficPolicy

log = logging.getLogger("quantplay.platform")
AGAIN_SECONDS = 2.0  # until what failed is tried again
Beat = Callable[[str, Mapping[str, int]], Awaitable[None]]
"""Says that this process, by the source of its counters, sees these endpoints at these versions: quiet, and not blind."""


@dataclass(kw_only=True)
class Following:
    """One process's work. settle_seconds: after a change, until counts belong to it surely."""

    gateway: PlatformGateway
    source: PolicySource
    sink: Sink
    beat: Beat
    settle_seconds: float
    tell: Callable[[str], object] = log.warning
    clock: Callable[[], float] = time.monotonic
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.table = Table(self.limits.stale_seconds, self.clock)
        self.counters = Counters(self.limits.counter_rows)
        self.ordered: dict[str, tuple[TrafficPolicy, float]] = {}  # what the gateway was told, and when
        self.settled: dict[str, TrafficPolicy] = {}  # what it surely went by when it was last read
        self.ordering = asyncio.Lock()  # one after the other: an older split must not arrive after a newer one
        self.faults: dict[str, str] = {}

    async def run(self, every: float) -> None:
        """Until cancelled."""
        await asyncio.gather(self.follow(), self.repeat(self.order, AGAIN_SECONDS), self.repeat(self.count, every))

    async def repeat(self, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            await step()
            await asyncio.sleep(seconds)

    async def follow(self) -> None:
        while True:
            try:
                async for policies in self.source.policies():
                    self.well("policies")
                    if self.table.apply(policies):
                        await self.order()
            except QuantplayError as error:
                self.fault("policies", error)
            await asyncio.sleep(AGAIN_SECONDS)

    async def order(self) -> None:
        """Tell the gateway what it was not told yet. Policies that can't be confirmed any more serve nobody but full precision."""
        async with self.ordering:
            for name in sorted(self.table.policies):
                if not self.gateway.serves(name):
                    self.fault(
                        name, InputError("the mapping does not name this endpoint, so its traffic stays as it is")
                    )
                    continue
                policy = self.table.policies.get(name)
                if policy is None:
                    continue
                wanted = policy.model_copy(update={"weight": 0.0}) if self.table.stale else policy
                if name in self.ordered and self.ordered[name][0] == wanted:
                    continue
                try:
                    told = await asyncio.to_thread(self.gateway.write, wanted)
                except QuantplayError as error:
                    self.fault(name, error)
                    continue
                self.well(name)
                self.ordered[name] = wanted, self.clock()
                self.tell(told)

    async def count(self) -> None:
        """Read what was counted since, hand it on, and say so. Counts that came too close to a change are nobody's."""
        seen: dict[str, int] = {}
        for name in sorted(self.ordered):
            policy = self.ordered[name][0]
            try:
                risen = await asyncio.to_thread(self.gateway.counters, policy)
            except QuantplayError as error:
                self.fault(f"counts of {name}", error)
                continue
            self.well(f"counts of {name}")
            seen[name] = policy.version
            ordered, since = self.ordered[name]
            if ordered != policy or self.clock() - since < self.settle_seconds:
                self.settled.pop(name, None)
                continue
            if self.settled.get(name) == policy:
                for (arm, counted), number in risen.items():
                    self.counters.add(name, policy.revision, arm, counted, number)
            self.settled[name] = policy
        await self.hand_on(seen)

    async def hand_on(self, seen: Mapping[str, int]) -> None:
        pending = self.counters.pending()
        try:
            if pending:
                await self.sink.write([self.counters.row(*each) for each in pending], ())
            if seen:
                await self.beat(self.counters.source, seen)
        except ServiceUnavailable as error:
            self.fault("the store", error)
            return
        self.well("the store")
        self.counters.confirmed(pending)

    def fault(self, where: str, error: Exception) -> None:
        """Said once, and again when it becomes another."""
        if self.faults.get(where) != str(error):
            self.faults[where] = str(error)
            self.tell(f"{where}: {error}")

    def well(self, where: str) -> None:
        if self.faults.pop(where, None) is not None:
            self.tell(f"{where}: well again")
