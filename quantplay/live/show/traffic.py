"""Who asks what and when, and what users make of an answer. Pure: the same seed gives the same conversations and reactions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from quantplay.evalset import EvalItem
from quantplay.harness.scorers import SCORERS

Reaction = Literal["thumbs_down", "downstream_error"]
TWO_QUESTIONS = 0.1  # of conversations
STREAMED = 0.3
COMPLAINS = 0.7  # of users with a wrong answer
NOISE = 0.01  # of users who complain about a right one


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One question."""

    item: EvalItem
    stream: bool
    mood: float  # in [0, 1), drawn beforehand: the same answer always brings the same reaction


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What one user asks, one question after the other."""

    id: str
    at: float  # seconds since the traffic began
    turns: tuple[Turn, ...]


def conversations(items: Sequence[EvalItem], *, rate: float, seed: int) -> Iterator[Conversation]:
    """Without end: arrivals of a Poisson process with `rate` a second, slices evenly."""
    drawn = random.Random(seed)  # noqa: S311 - traffic, no secret
    slices: dict[str, list[EvalItem]] = {}
    for item in items:
        slices.setdefault(item.slice, []).append(item)
    names, at = sorted(slices), 0.0
    while True:
        at += drawn.expovariate(rate)
        turns = tuple(
            Turn(item=drawn.choice(slices[drawn.choice(names)]), stream=drawn.random() < STREAMED, mood=drawn.random())
            for _ in range(2 if drawn.random() < TWO_QUESTIONS else 1)
        )
        yield Conversation(id=f"{drawn.getrandbits(64):016x}", at=at, turns=turns)


def right(item: EvalItem, text: str) -> bool:
    """By the item's own reference."""
    return SCORERS[item.scorer](text, item) == 1


def reaction(turn: Turn, text: str) -> Reaction | None:
    """What the user says about an answer; a ticket that is no right JSON is found by the program behind."""
    if right(turn.item, text):
        return "thumbs_down" if turn.mood < NOISE else None
    if turn.item.scorer == "json":
        return "downstream_error"
    return "thumbs_down" if turn.mood < COMPLAINS else None
