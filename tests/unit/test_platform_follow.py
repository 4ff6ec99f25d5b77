"""Policies to a platform's gateway and counts back: in what order, what is dropped, and what happens while something is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantplay.errors import InputError, ServiceUnavailable
from quantplay.live.platform.follow import Following
from quantplay.live.platform.ports import Rise
from quantplay.records.traffic import CounterRow, RequestRow, ServedArm, TrafficPolicy

ARM = ServedArm(url="http://h/v1", model="chat", artifact="a" * 64)
SETTLE = 60


def policy(version: int = 1, weight: float = 0.5, **changes: Any) -> TrafficPolicy:
    return TrafficPolicy(**{
        "endpoint": "chat", "revision": 1, "version": version, "state": "canary", "weight": weight, "salt": "s",
        "full_precision": ARM, "quantized": ARM, **changes,
    })  # fmt: skip


@dataclass(kw_only=True)
class Gateway:
    """Says what it is told to say, and notes what it is told."""

    written: list[tuple[int, float]] = field(default_factory=list)  # version, share
    risen: dict[Any, int] = field(default_factory=dict)
    fault: Exception | None = None

    def serves(self, endpoint: str) -> bool:
        return endpoint == "chat"

    def write(self, policy: TrafficPolicy) -> str:
        if self.fault is not None:
            raise self.fault
        self.written.append((policy.version, policy.share))
        return f"version {policy.version}"

    def counters(self, policy: TrafficPolicy) -> Rise:
        if self.fault is not None:
            raise self.fault
        found, self.risen = self.risen, {}
        return found


@dataclass(kw_only=True)
class Store:
    rows: list[CounterRow] = field(default_factory=list)
    away: bool = False
    beats: list[dict[str, int]] = field(default_factory=list)

    async def write(self, rows: Sequence[CounterRow], requests: Sequence[RequestRow]) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        self.rows += rows

    async def beat(self, source: str, versions: Mapping[str, int]) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        self.beats.append(dict(versions))

    async def policies(self) -> AsyncIterator[tuple[TrafficPolicy, ...]]:
        yield ()

    @property
    def counted(self) -> dict[tuple[str, str], int]:
        last = {(row.minute, row.arm, row.name): row.value for row in self.rows}
        found: dict[tuple[str, str], int] = {}
        for (_, arm, name), value in last.items():
            found[arm, name] = found.get((arm, name), 0) + value
        return found


class Desk:
    """A Following with its parts, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.gateway, self.store, self.now, self.said = Gateway(), Store(), 0.0, []
        self.work = Following(
            gateway=self.gateway, source=self.store, sink=self.store, beat=self.store.beat, settle_seconds=SETTLE, tell=self.said.append,
            clock=lambda: self.now,
        )  # fmt: skip

    def order(self, *policies: TrafficPolicy) -> None:
        if policies:
            self.work.table.apply(policies)
        asyncio.run(self.work.order())

    def count(self, seconds: float, **risen: int) -> None:
        """`seconds` later so much more was counted on the quantized arm."""
        self.now += seconds
        for name, number in risen.items():
            key = ("quantized", name)
            self.gateway.risen[key] = self.gateway.risen.get(key, 0) + number
        asyncio.run(self.work.count())


def test_each_change_is_ordered_once_and_a_way_back_at_once() -> None:
    desk = Desk()
    for given in (policy(), policy(), policy(2, 0.9), policy(3, 0.0, state="rolled_back")):
        desk.order(given)
    assert desk.gateway.written == [(1, 0.5), (2, 0.9), (3, 0.0)]
    desk.order(policy(2, 0.9))  # of a stale replica
    assert desk.gateway.written[-1] == (3, 0.0)


def test_what_could_not_be_ordered_is_ordered_again_and_told_once() -> None:
    desk = Desk()
    desk.gateway.fault = ServiceUnavailable("kubectl could not apply the route")
    desk.order(policy())
    desk.order()
    assert len(desk.said) == 1
    desk.gateway.fault = None
    desk.order()
    assert desk.gateway.written == [(1, 0.5)]
    assert desk.said[1:] == ["chat: well again", "version 1"]


def test_policies_that_nobody_can_confirm_serve_full_precision_until_they_can_be_again() -> None:
    desk = Desk()
    desk.order(policy())
    desk.now = 299
    desk.order()
    assert desk.gateway.written == [(1, 0.5)]
    desk.now = 301
    desk.order()
    assert desk.gateway.written[1:] == [(1, 0.0)]
    desk.order(policy())  # the database is back
    assert desk.gateway.written[2:] == [(1, 0.5)]


def test_an_endpoint_that_the_mapping_does_not_name_is_told_and_keeps_no_other_from_its_policy() -> None:
    desk = Desk()
    desk.order(policy(endpoint="another"), policy())
    assert desk.gateway.written == [(1, 0.5)]
    assert "does not name" in desk.said[0]


def test_counts_near_a_change_are_nobodys_and_later_ones_are_the_revisions() -> None:
    desk = Desk()
    desk.order(policy())
    desk.count(15, conversations=1000)  # of whatever was in force before
    desk.count(SETTLE - 15, conversations=100)  # settled now, but counted since before it was
    desk.count(15, conversations=7, error=1)
    assert desk.store.counted == {("quantized", "conversations"): 7, ("quantized", "error"): 1}
    desk.order(policy(2, 0.9))
    desk.count(15, conversations=5)
    desk.count(SETTLE, conversations=6)
    desk.count(15, conversations=4)
    assert desk.store.counted["quantized", "conversations"] == 11
    assert {row.revision for row in desk.store.rows} == {1}


def test_counts_wait_while_the_store_is_away_and_the_judge_hears_nothing_while_prometheus_is() -> None:
    desk = Desk()
    desk.order(policy())
    desk.count(SETTLE)
    desk.store.away = True
    desk.count(15, conversations=3)
    desk.store.away = False
    desk.count(15, conversations=4)
    assert desk.store.counted == {("quantized", "conversations"): 7}
    desk.gateway.fault = ServiceUnavailable("Prometheus does not answer")
    before = len(desk.store.rows)
    desk.count(15, conversations=50)
    assert len(desk.store.rows) == before  # silence, which the judge calls blind
    assert len(desk.store.beats) == 2
    desk.gateway.fault = InputError("Prometheus refuses a selector of the mapping")
    desk.count(15)
    desk.gateway.fault = None
    desk.count(15)
    assert desk.store.counted == {("quantized", "conversations"): 57}


def test_a_night_without_a_request_is_quiet_and_says_so() -> None:
    desk = Desk()
    desk.order(policy(4))
    for _ in range(3):
        desk.count(15)
    assert desk.store.beats == [{"chat": 4}] * 3
    assert desk.store.rows == []


def test_two_orders_at_once_arrive_in_their_order() -> None:
    desk = Desk()

    async def both() -> None:
        desk.work.table.apply([policy()])
        first = asyncio.create_task(desk.work.order())
        await asyncio.sleep(0)
        desk.work.table.apply([policy(2, 0.0, state="rolled_back")])
        await asyncio.gather(first, desk.work.order())

    asyncio.run(both())
    assert desk.gateway.written[-1] == (2, 0.0)
    assert [version for version, _ in desk.gateway.written] == sorted(version for version, _ in desk.gateway.written)
