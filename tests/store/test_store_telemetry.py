"""Counters that gateways flush, perhaps twice, late or in another order; request rows by day."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date
from uuid import UUID

import pytest
import sqlalchemy as sa

from quantplay.records.traffic import CounterRow, RequestRow
from quantplay.store.registry import Store

SOURCES = [str(UUID(int=n)) for n in (1, 2)]
DAY = 86_400


def counter(source: str, minute: int, name: str, value: int) -> CounterRow:
    return CounterRow(
        source=source, endpoint="chat", revision=1, minute=minute, arm="quantized", name=name, value=value
    )


def request(at: float, id_: str) -> RequestRow:
    return RequestRow(
        at=at,
        id=id_,
        endpoint="chat",
        revision=1,
        assigned="quantized",
        served="full_precision",
        status=200,
        total_ms=12.5,
    )


@pytest.mark.parametrize("seed", range(5))
def test_what_comes_twice_late_or_shuffled_counts_once(store: Store, seed: int) -> None:
    draw = random.Random(seed)
    rows, expected, sums = [], defaultdict(int), defaultdict(int)
    for source in SOURCES:
        for name in ("conversations", "error", "decode:-3"):
            total = 0
            for minute in range(100, 104):
                value = 0
                for _ in range(draw.randint(1, 4)):
                    value += draw.randint(0, 5)
                    rows.append(counter(source, minute, name, value))
                    rows.append(counter(source, 0, name, total + value))
                total += value
                expected[minute, name] += value
            sums["quantized", name] += total
    flushes = [rows[start : start + 7] for start in range(0, len(rows), 7)] * 2
    draw.shuffle(flushes)
    for flush in flushes:
        store.write_live(flush)
    assert store.live_totals("chat", 1) == dict(sums)
    found = store.live_minutes("chat", 1, since=101)
    assert {(minute, name): value for minute, told in found.items() for (_, name), value in told.items()} == {
        key: value for key, value in expected.items() if key[0] >= 101
    }
    assert store.live_totals("chat", 2) == {}


def test_request_rows_lie_in_days_and_old_days_go_whole(store: Store) -> None:
    rows = [
        request(DAY * day + second, f"r{day}-{second}") for day in (20_000, 20_001, 20_003) for second in (0, DAY - 1)
    ]
    store.write_live([], rows[:3])
    store.write_live([counter(SOURCES[0], 1, "error", 1), counter(SOURCES[0], 0, "error", 1)], rows)
    count = sa.text("select count(*) from quantplay.live_requests")
    with store.engine.connect() as connection:
        assert connection.scalar(count) == 6
    assert store.forget_live(requests_before=date(1970, 1, 1), minutes_before=0) == 0
    kept_from = date.fromordinal(date(1970, 1, 1).toordinal() + 20_001)
    assert store.forget_live(requests_before=kept_from, minutes_before=2) == 1
    with store.engine.connect() as connection:
        assert connection.scalar(count) == 4
    assert store.live_minutes("chat", 1) == {}
    assert store.live_totals("chat", 1) == {("quantized", "error"): 1}  # sums stay
