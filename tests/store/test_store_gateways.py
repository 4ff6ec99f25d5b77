"""Gateways that meet in the database: who is there, and feedback that reached another one than the one that answered."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
import sqlalchemy as sa

from quantplay.errors import ServiceUnavailable
from quantplay.live.gateway.database import DatabaseOthers, DatabaseSink
from quantplay.live.gateway.elsewhere import Elsewhere
from quantplay.live.gateway.ledger import Answered, Exposed
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.table import Table
from quantplay.live.gateway.telemetry import Telemetry
from quantplay.records.traffic import FeedbackRow
from quantplay.store import gateways
from quantplay.store.registry import Store

SOURCE = str(UUID(int=7))
TOLD = FeedbackRow(id="chatcmpl-1", client="alice", signal="thumbs_down")


class Gateway:
    """What one process keeps and how it meets the others, without its ports."""

    def __init__(self, store: Store) -> None:
        self.store, self.away, limits = store, False, Limits()
        self.telemetry = Telemetry(DatabaseSink(open=self.open), limits)
        self.others = DatabaseOthers(open=self.open)
        self.elsewhere = Elsewhere(self.others, self.telemetry, Table(300), limits)

    def open(self) -> Store:
        if self.away:
            raise ServiceUnavailable("away")
        return self.store

    def answered(self, response: str = TOLD.id, client: str = TOLD.client, conversation: str = "c") -> None:
        self.telemetry.ledger.remember(
            response, Answered(Exposed("chat", 3, "quantized", conversation), client)
        )  # fmt: skip

    async def look(self) -> None:
        await self.elsewhere.exchange(self.others)


def waiting(store: Store) -> int:
    with store.engine.connect() as connection:
        return connection.scalar(sa.text("SELECT count(*) FROM quantplay.live_feedback")) or 0


def test_feedback_at_another_gateway_counts_once_for_the_arm_that_was_assigned(store: Store) -> None:
    async def test() -> None:
        one, two, three = (Gateway(store) for _ in range(3))
        one.answered()
        for _ in range(2):  # told twice, and once more at a third one
            assert two.elsewhere.passes_on(TOLD)
        assert three.elsewhere.passes_on(TOLD)
        for gateway in (two, three, one, one, three, two, one):
            await gateway.look()
        assert store.live_totals("chat", 3) == {("quantized", "thumbs_down"): 1}
        assert waiting(store) == 0
        assert (one.elsewhere.taken, two.elsewhere.passed_on, three.elsewhere.passed_on) == (1, 1, 1)
        two.elsewhere.passes_on(TOLD)  # and later again
        for gateway in (two, one, one):
            await gateway.look()
        assert store.live_totals("chat", 3) == {("quantized", "thumbs_down"): 1}
        assert waiting(store) == 0

    asyncio.run(test())


def test_feedback_of_another_client_is_for_nobody(store: Store) -> None:
    async def test() -> None:
        one, two = Gateway(store), Gateway(store)
        one.answered(client="bob")
        two.elsewhere.passes_on(TOLD)
        for gateway in (two, one, one):
            await gateway.look()
        assert store.live_totals("chat", 3) == {}
        assert waiting(store) == 1

    asyncio.run(test())


def test_a_database_that_is_away_loses_no_feedback(store: Store) -> None:
    async def test() -> None:
        one, two = Gateway(store), Gateway(store)
        one.answered()
        two.elsewhere.passes_on(TOLD)
        two.away = True
        await two.look()
        assert [*two.elsewhere.waiting] == [TOLD]
        two.away = False
        await two.look()
        away = Gateway(store)
        away.away = True
        one.telemetry.sink, working = away.telemetry.sink, one.telemetry.sink
        await one.look()  # counted in memory, not written: the row has to stay
        await one.look()
        assert waiting(store) == 1
        one.telemetry.sink = working
        await one.look()
        await one.look()
        assert waiting(store) == 0
        assert store.live_totals("chat", 3) == {("quantized", "thumbs_down"): 1}

    asyncio.run(test())


def test_what_nobody_answered_is_given_up_after_a_day_and_told_once(store: Store) -> None:
    async def test() -> None:
        one, two = Gateway(store), Gateway(store)
        two.elsewhere.passes_on(TOLD)
        await two.look()
        with store.engine.begin() as connection:
            connection.execute(sa.text("UPDATE quantplay.live_feedback SET at = at - interval '25 hours'"))
        for gateway in (one, two):
            await gateway.look()
        assert waiting(store) == 0
        assert (one.elsewhere.unmatched, two.elsewhere.unmatched) == (1, 0)

    asyncio.run(test())


def test_there_is_an_end_to_what_waits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "MOST_FEEDBACK", 3)
    rows = [TOLD.model_copy(update={"id": f"r{n}"}) for n in range(5)]
    first, second = (store.exchange_feedback(rows[:2]), store.exchange_feedback(rows[2:]))
    assert (first.refused, second.refused, waiting(store)) == (0, 2, 3)
    assert store.exchange_feedback(settled=[*first.rows], since=first.until).refused == 0
    assert waiting(store) == 1


@pytest.mark.parametrize("response", ["", "a" * 201, "nul\0", "line\nbreak", "\ud800", "é"])
def test_what_is_no_id_of_an_answer_never_reaches_the_database(store: Store, response: str) -> None:
    gateway = Gateway(store)
    row = FeedbackRow.model_construct(id=response, client="alice", signal="thumbs_down")
    assert gateway.elsewhere.passes_on(row) is False
    assert not gateway.elsewhere.waiting


def test_who_is_there_is_told_with_the_policies_it_goes_by(store: Store) -> None:
    store.gateway_is_there(SOURCE, "host 1", {"chat": 3})
    store.gateway_is_there(SOURCE, "host 1", {"chat": 4, "mail": 1})
    store.gateway_is_there(str(UUID(int=8)), "host 2", {})
    first, second = store.gateways_seen()
    assert (first.source, first.name, first.versions) == (SOURCE, "host 1", {"chat": 4, "mail": 1})
    assert (second.name, second.versions) == ("host 2", {})
    assert 0 <= first.seconds_ago < 60
    with store.engine.begin() as connection:
        connection.execute(sa.text("UPDATE quantplay.live_gateways SET seen_at = seen_at - interval '20 minutes'"))
    assert store.gateways_seen() == ()
    assert len(store.gateways_seen(86_400)) == 2
    with store.engine.begin() as connection:
        connection.execute(sa.text("UPDATE quantplay.live_gateways SET seen_at = seen_at - interval '25 hours'"))
    store.gateway_is_there(SOURCE, "host 1", {})
    assert len(store.gateways_seen(1e9)) == 1
