"""Cumulative counts a minute, kept until the sink has them; sums of the process for /metrics."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from quantplay.records.traffic import CounterRow, RequestRow, ServedBy


class Place(NamedTuple):
    endpoint: str
    revision: int
    minute: int
    arm: ServedBy
    name: str


class Counters:
    """Counts in memory. A row that was written and rises again is written again with its higher value."""

    def __init__(self, most_rows: int, clock: Callable[[], float] = time.time) -> None:
        self.source = str(uuid.uuid4())
        self.most_rows, self.clock = most_rows, clock
        self.values: dict[Place, int] = {}
        self.waiting: dict[Place, None] = {}  # changed since the sink confirmed them; in the order they changed
        self.totals: dict[tuple[str, ServedBy, str], int] = {}
        self.minute = 0

    def add(self, endpoint: str, revision: int, arm: ServedBy, name: str, count: int = 1) -> None:
        # With too many rows waiting no new minute begins: later counts join the last one, and none is lost.
        if not self.values or len(self.values) < self.most_rows:
            self.minute = max(self.minute, int(self.clock() // 60))
        place = Place(endpoint, revision, self.minute, arm, name)
        self.values[place] = self.values.get(place, 0) + count
        self.waiting[place] = None
        total = (endpoint, arm, name)
        self.totals[total] = self.totals.get(total, 0) + count

    def put(self, place: Place, value: int) -> None:
        """What another part of the process sums up by itself; it is in no sum here."""
        self.values[place] = value
        self.waiting[place] = None

    def pending(self) -> list[tuple[Place, int]]:
        return [(place, self.values[place]) for place in self.waiting]

    def row(self, place: Place, value: int) -> CounterRow:
        return CounterRow(source=self.source, value=value, **place._asdict())

    def confirmed(self, written: Sequence[tuple[Place, int]]) -> None:
        """The sink has these values. What rose since waits on; a minute that is over is forgotten."""
        for place, value in written:
            if self.values[place] == value:
                self.waiting.pop(place, None)
                if place.minute < self.minute:
                    del self.values[place]


class Queue:
    """Request rows on their way to the sink; when it is full the oldest are dropped and counted."""

    def __init__(self, length: int) -> None:
        self.rows: deque[RequestRow] = deque()
        self.length = length
        self.dropped = 0

    def put(self, row: RequestRow) -> None:
        if len(self.rows) >= self.length:
            self.rows.popleft()
            self.dropped += 1
        self.rows.append(row)

    def take(self, most: int) -> list[RequestRow]:
        return [self.rows.popleft() for _ in range(min(most, len(self.rows)))]

    def give_back(self, rows: Sequence[RequestRow]) -> None:
        free = self.length - len(self.rows)
        kept = rows[len(rows) - free :] if free < len(rows) else rows
        self.dropped += len(rows) - len(kept)
        self.rows.extendleft(reversed(kept))
