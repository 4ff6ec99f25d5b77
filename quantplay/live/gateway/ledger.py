"""Which conversations are counted already, and which answer belongs to which: bounded, the least recently used go first.

A conversation that comes back after so many others counts as a new one, in either arm alike.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from quantplay.records.rollback_rules import SIGNALS
from quantplay.records.traffic import ServedBy

BITS = {name: 1 << place for place, name in enumerate(("thumbs_up", "decode", *SIGNALS))}
"""What is counted once a conversation: reactions, the decode speed of its first answer, the judge's signals."""


class Exposed(NamedTuple):
    """A conversation as one arm of one revision has it."""

    endpoint: str
    revision: int
    arm: ServedBy  # assigned
    conversation: str

    @property
    def key(self) -> bytes:
        return hashlib.blake2b("\n".join(map(str, self)).encode(), digest_size=16).digest()


class Answered(NamedTuple):
    """What a response id stands for."""

    exposed: Exposed
    client: str


class Ledger:
    def __init__(self, remembered: int) -> None:
        self.remembered = remembered
        self.counted: dict[bytes, int] = {}
        self.answers: dict[str, Answered] = {}

    def enter(self, exposed: Exposed) -> bool:
        """True for a conversation not seen before."""
        key = exposed.key
        seen = self.counted.pop(key, None)
        self.counted[key] = seen or 0
        if seen is None and len(self.counted) > self.remembered:
            del self.counted[next(iter(self.counted))]
        return seen is None

    def first(self, exposed: Exposed, what: str) -> bool:
        """True the first time this happens in the conversation."""
        key, bit = exposed.key, BITS[what]
        seen = self.counted.get(key, 0)
        if seen & bit:
            return False
        self.enter(exposed)
        self.counted[key] |= bit
        return True

    def remember(self, response: str, answered: Answered) -> None:
        self.answers.pop(response, None)
        self.answers[response] = answered
        if len(self.answers) > self.remembered:
            del self.answers[next(iter(self.answers))]
