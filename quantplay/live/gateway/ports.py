"""What the gateway needs from outside: policies that come in, counts that go out. Neither is on the path of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from quantplay.records.traffic import CounterRow, RequestRow, TrafficPolicy


class PolicySource(Protocol):
    def policies(self) -> AsyncIterator[tuple[TrafficPolicy, ...]]:
        """All policies: at once, after every change, and at least every 30 s; each time one confirmed read.

        Raises ServiceUnavailable while they can't be read, InputError where they are faulty; it is asked again then.
        """
        ...


class Sink(Protocol):
    async def write(self, rows: Sequence[CounterRow], requests: Sequence[RequestRow]) -> None:
        """Keep both. The same rows once more change nothing; raises ServiceUnavailable where nothing was kept."""
        ...
