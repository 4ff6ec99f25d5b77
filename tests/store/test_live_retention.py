"""What is kept of the past: nothing counted is lost, and the judge's memory stays."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

from quantplay.live.retention import HOURS, MINUTES, tidy
from quantplay.records.traffic import CounterRow
from quantplay.store.registry import Store

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


def counter(at: datetime, source: int, name: str, value: int) -> CounterRow:
    return CounterRow(
        source=str(UUID(int=source)), endpoint="chat", revision=1, minute=int(at.timestamp() // 60), arm="quantized", name=name,
        value=value,
    )  # fmt: skip


def by_hour(store: Store) -> dict[tuple[int, str], int]:
    found: dict[tuple[int, str], int] = {}
    for minute, told in store.live_minutes("chat", 1).items():
        for (_, name), value in told.items():
            found[minute // 60, name] = found.get((minute // 60, name), 0) + value
    return found


def test_minutes_become_hours_and_every_hours_sum_stays(store: Store) -> None:
    draw = random.Random(1)
    rows = [
        counter(NOW - timedelta(minutes=draw.randint(0, 6 * 1440)), source, name, draw.randint(1, 9))
        for source in (1, 2) for name in ("conversations", "ttft:40") for _ in range(400)
    ]  # fmt: skip
    total = CounterRow.model_validate({**rows[0].body(), "minute": 0, "value": 7})
    store.write_live([*rows, total])
    before, minutes = by_hour(store), len(store.live_minutes("chat", 1))
    tidy(store, NOW)
    assert by_hour(store) == before
    after = store.live_minutes("chat", 1)
    assert len(after) < minutes
    edge = int((NOW - MINUTES).timestamp() // 60)
    assert all(minute % 60 == 0 for minute in after if minute < edge // 60 * 60)
    assert any(minute % 60 for minute in after)
    tidy(store, NOW)
    assert store.live_minutes("chat", 1) == after
    # A minute that comes late is added to its hour, and next day's roll-up goes on from there.
    late = NOW - timedelta(days=5)
    store.write_live([counter(late, 3, "conversations", 4)])
    tidy(store, NOW + timedelta(days=1))
    hour = int(late.timestamp() // 3600)
    assert by_hour(store)[hour, "conversations"] == before.get((hour, "conversations"), 0) + 4
    tidy(store, NOW + HOURS + timedelta(days=7))
    assert store.live_minutes("chat", 1) == {}
    assert store.live_totals("chat", 1) == {("quantized", "conversations"): 7}


def test_what_was_done_and_the_last_word_stay(store: Store) -> None:
    old = NOW - timedelta(days=3)
    start = old.replace(minute=0)
    acted = start + timedelta(minutes=30)
    for minute in range(120):
        at = start + timedelta(minutes=minute)
        action = "promote" if at == acted else "continue"
        store.put_judgement(
            "chat", 1, int(at.timestamp()), json.dumps({"action": action, "at": minute}, separators=(",", ":"))
        )

    def told() -> list[int]:
        return [json.loads(one)["at"] for one in store.judgements("chat", 1)]

    tidy(store, start + timedelta(hours=1))
    assert len(told()) == 120
    tidy(store, NOW)
    assert told() == [30, 59, 119]
    tidy(store, NOW + HOURS)
    assert told() == [30, 119]
