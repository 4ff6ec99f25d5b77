"""What the gateway needs from outside: policies that come in, counts that go out, the other gateways. None is on the path of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from quantplay.records.traffic import CounterRow, FeedbackRow, RequestRow, TrafficPolicy


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


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Feedback that reached any gateway and that the one which answered has not counted yet."""

    rows: Sequence[FeedbackRow]
    expired: int = 0  # that nobody knew the answer of, given up just now
    refused: int = 0  # of those passed on just now, for want of room


class Others(Protocol):
    """The other gateway processes on the same policies, and the judge. Both raise ServiceUnavailable where nothing was done."""

    async def beat(self, source: str, versions: Mapping[str, int]) -> None:
        """This process, by the source of its counters, is there and goes by these versions; endpoint -> version."""
        ...

    async def exchange(self, given: Sequence[FeedbackRow], settled: Sequence[FeedbackRow]) -> Waiting:
        """Pass on what is given, take away what is settled, and see what waits; the same again changes nothing."""
        ...
