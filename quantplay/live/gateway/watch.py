"""Features of how conversations begin, counted a day: what drift is looked for in. Never a text, and of busy endpoints only some.

A conversation is looked at once, after its first answer went out. Where more begin than `looked_a_minute`, the hash of a conversation
says whether it is one of those looked at, and each stands for a power of two of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from quantplay.live.drift.features import of_request
from quantplay.live.drift.fingerprint import Tally
from quantplay.live.gateway.counters import Counters, Place

if TYPE_CHECKING:
    from quantplay.live.gateway.telemetry import Exchange

DAY_MINUTES = 24 * 60
HEX = 12  # digits of a conversation's hash that are used here
Key = tuple[str, int, int]  # endpoint, revision, day (Unix time // 86,400)


class Watch:
    def __init__(self, looked_a_minute: int, clock: Callable[[], float] = time.time) -> None:
        self.looked_a_minute, self.clock = looked_a_minute, clock
        self.tallies: dict[Key, Tally] = {}
        self.changed: dict[Key, None] = {}
        self.minute, self.begun, self.room = 0, 0, looked_a_minute  # conversations begun in this minute, looks left
        self.level = 0  # of 2**level conversations one is looked at

    def look(self, exchange: Exchange) -> None:
        """Count an exchange that opened its conversation and was answered."""
        now = self.clock()
        weight = self.weight(exchange.conversation, int(now // 60))
        if not weight:
            return
        policy = exchange.route.policy
        key = (policy.endpoint, policy.revision, int(now // 60) // DAY_MINUTES)
        tokens = None if exchange.failed else exchange.completion_tokens or exchange.events or None
        self.tallies.setdefault(key, Tally()).add(of_request(exchange.fields, tokens), weight)
        self.changed[key] = None

    def weight(self, conversation: str, minute: int) -> int:
        """How many conversations this one stands for; 0: it is not looked at."""
        if not self.looked_a_minute:
            return 0
        if minute != self.minute:
            rate = self.begun / self.looked_a_minute if minute == self.minute + 1 else 0
            self.level = max(0, math.ceil(math.log2(rate))) if rate else 0
            self.minute, self.begun, self.room = minute, 0, self.looked_a_minute
        self.begun += 1
        if not self.room:  # more than in the minute before: half as many from here on
            self.level, self.room = self.level + 1, max(1, self.looked_a_minute // 2)
        if int(conversation[:HEX], 16) % 2**self.level:
            return 0
        self.room -= 1
        return 2**self.level

    def hand_over(self, counters: Counters) -> None:
        """Give what changed to the counters, as sums of the day so far: writing them again changes nothing."""
        today = int(self.clock() // 60) // DAY_MINUTES
        for key in list(self.changed):
            endpoint, revision, day = key
            for name, value in self.tallies[key].fingerprint().counters().items():
                counters.put(Place(endpoint, revision, day * DAY_MINUTES, "full_precision", name), value)
        self.changed.clear()
        for key in [key for key in self.tallies if key[2] < today]:
            del self.tallies[key]
