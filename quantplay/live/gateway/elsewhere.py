"""The other gateways on the same policies: this one says that it is there, and passes on feedback on answers it did not give.

Only the process that answered knows an answer, so only it counts; it takes a row away once the count is written. Killed in between,
the row stays until it expires, and is told as unmatched.
"""

from __future__ import annotations

import asyncio
import logging

from quantplay.errors import ServiceUnavailable
from quantplay.live.gateway.answers import Refused
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.ports import Others
from quantplay.live.gateway.table import Table
from quantplay.live.gateway.telemetry import Telemetry
from quantplay.records.traffic import FeedbackRow

log = logging.getLogger("quantplay.gateway")
AT_ONCE = 1000  # rows passed on in one go
LONGEST_ID = 200


class Elsewhere:
    def __init__(self, others: Others | None, telemetry: Telemetry, table: Table, limits: Limits) -> None:
        self.others, self.telemetry, self.table, self.limits = others, telemetry, table, limits
        self.waiting: dict[FeedbackRow, None] = {}  # on their way to the others
        self.counted: dict[FeedbackRow, None] = {}  # here, and not taken away yet
        self.settled: list[FeedbackRow] = []  # of these, what is written: to be taken away
        self.passed_on = self.taken = self.unmatched = self.dropped = 0
        self.fault: str | None = None

    def passes_on(self, row: FeedbackRow) -> bool:
        """Whether another gateway may have given that answer; then it will hear of this. Raises Refused where too many wait."""
        # What no server would call an answer, a database could not even store.
        known_form = 0 < len(row.id) <= LONGEST_ID and row.id.isascii() and row.id.isprintable()
        if self.others is None or not known_form:
            return False
        if row not in self.waiting and len(self.waiting) >= self.limits.passed_on:
            self.dropped += 1
            raise Refused(429, "overloaded", "too much feedback waits, try again", retry_after=5)
        self.waiting[row] = None
        return True

    async def run(self) -> None:
        while self.others is not None:
            await asyncio.sleep(self.limits.others_seconds)
            await self.exchange(self.others)

    async def exchange(self, others: Others) -> None:
        given, settled = [*self.waiting][:AT_ONCE], self.settled
        try:
            found = await others.exchange(given, settled)
        except ServiceUnavailable as error:
            if self.fault is None:
                log.warning("feedback on other gateways' answers waits: %s", error.what)
            self.fault = error.what
            return
        self.fault = None
        for row in given:
            self.waiting.pop(row, None)
        self.passed_on += len(given) - found.refused
        self.dropped += found.refused
        self.unmatched += found.expired
        for row in settled:
            self.counted.pop(row, None)
        self.settled = []
        self.counted |= dict.fromkeys(row for row in found.rows if self.count(row))
        known = [*self.counted]
        if known and await self.telemetry.flush():
            self.settled = known

    def count(self, row: FeedbackRow) -> bool:
        """Whether the answer was given here; it is counted once then."""
        answered = self.telemetry.ledger.answers.get(row.id)
        if answered is None or answered.client != row.client:
            return False
        self.taken += self.telemetry.once(answered.exposed, row.signal)
        return True

    async def beats(self) -> None:
        """Signs of life, each after a flush: who reads one knows that all counts before it are there."""
        while self.others is not None:
            versions = {name: policy.version for name, policy in self.table.policies.items()}
            try:
                if await self.telemetry.flush():
                    await self.others.beat(self.telemetry.counters.source, versions)
            except ServiceUnavailable as error:
                log.debug("no sign of life: %s", error.what)  # the flush has told it
            await asyncio.sleep(self.limits.beat_seconds)
