"""Traffic of an endpoint whose weekdays differ and whose topics come and go, day by day, for `drift_days`.

Every conversation is a text of this repository (or of the sentences below) through the function that reads live requests; a day is a draw
of them. What a day asks about follows a plan of its weekday, times the popularity of 8 groups of texts a topic, which wander from day to
day (autoregressive of order one, on logarithms).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.live.drift.features import Features, of_request
from quantplay.live.drift.fingerprint import FAMILIES, Fingerprint
from quantplay.live.drift.usual import Day

ROOT = Path(__file__).parent.parent
MONDAY = date(2026, 1, 5)
GROUPS = 8  # of texts in a topic, each with a popularity of its own
SIZE = 240  # texts a topic
WORKING = {"orders": 0.62, "recipes": 0.08, "prose": 0.22, "code": 0.08}
WEEKEND = {"orders": 0.45, "recipes": 0.27, "prose": 0.25, "code": 0.03}
GERMAN = (
    ("Bitte sagen Sie mir,", "Ich möchte wissen,", "Können Sie mir erklären,", "Guten Tag, mich interessiert,"),
    (
        "wo meine Bestellung ist",
        "wie ich die Lieferung ändern kann",
        "warum die Rechnung nicht stimmt",
        "was der Versand kostet",
    ),
    (
        "und wann das Paket kommt.",
        "und an wen ich mich wenden soll.",
        "weil ich nicht zu Hause bin.",
        "denn auf der Seite steht es nicht.",
    ),
    ("Vielen Dank!", "Es ist dringend.", "Die Nummer habe ich nicht mehr.", "Der Tisch ist für das Büro."),
)
Bins = np.ndarray


def texts(path: str) -> list[str]:
    return [json.loads(line)["text"] for line in (ROOT / path).read_text(encoding="utf-8").splitlines()]


def paragraphs() -> list[str]:
    """Of files that don't change from version to version, so that the figures don't either."""
    files = [ROOT / "LICENSE", *sorted((ROOT / "docs" / "adr").glob("*.md"))[:6]]
    found = [part.strip() for path in files for part in path.read_text(encoding="utf-8").split("\n\n")]
    return [part for part in found if 80 < len(part) < 3000]


@cache
def topics() -> dict[str, list[Features]]:
    """Topic -> conversations of it."""
    raw = {
        "orders": texts("examples/pilot/traffic/sample.jsonl"), "recipes": texts("examples/pilot/calibration/wrong-domain.jsonl"),
        "prose": paragraphs(), "code": texts("benchmarks/trained/calibration.jsonl"),
        "german": [" ".join(words) for words in product(*GERMAN)],
    }  # fmt: skip
    found = {name: conversations(some, number) for number, (name, some) in enumerate(raw.items())}
    found["longer"] = conversations([" ".join([text] * 3) for text in raw["orders"]], 0)
    tool: Mapping[str, Any] = {"tools": [{"type": "function", "function": {"name": "find"}}]}
    calls = [
        f'{{"name": "find_order", "arguments": {{"query": {json.dumps(text[:80])}, "limit": 5}}}}'
        for text in raw["orders"]
    ]
    found["tool calls"] = conversations(calls, 0, tool)
    return found


def conversations(some: list[str], seed: int, more: Mapping[str, Any] | None = None) -> list[Features]:
    dice = np.random.default_rng(seed)
    chosen = [some[number] for number in dice.permutation(len(some))[:SIZE]]
    turns = dice.geometric(0.75, len(chosen))
    answers = np.exp(dice.normal(4 + 0.3 * (seed % 3), 0.8, len(chosen))).astype(int)
    return [
        of_request(
            {"messages": [{"role": "user", "content": text}] + [{"role": "user", "content": ""}] * int(turn - 1), **(more or {})},
            int(answer),
        )
        for text, turn, answer in zip(chosen, turns, answers, strict=True)
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class World:
    """How an endpoint's days vary."""

    name: str
    conversations: int = 8_000  # of a working day; 40 % of that on weekends
    persistence: float = 0.7  # correlation of a group's popularity with that of the day before
    wander: float = 0.25  # standard deviation of its logarithm over the years
    weekends: bool = True
    shift: str = ""  # topic that the traffic moves to
    share: float = 0.0  # of all conversations, at the end
    over_days: int = 0  # until then, evenly; 0: at once
    shift_day: int = field(default=10**6)


@cache
def bins() -> tuple[dict[str, slice], np.ndarray, list[str]]:
    """Place of each topic's conversations, what each of them counts (conversations, names), and the names."""
    names = [f"{family}:{number}" for family, size in FAMILIES.items() for number in range(size)]
    place, rows, where = {name: number for number, name in enumerate(names)}, [], {}
    for topic, some in topics().items():
        where[topic] = slice(len(rows), len(rows) + len(some))
        for features in some:
            row = np.zeros(len(names))
            for name in features.counts():
                row[place[name]] += 1
            rows.append(row)
    return where, np.stack(rows), names


def days_of(world: World, count: int, seed: int) -> list[Day]:
    """`count` days from a Monday on."""
    dice = np.random.default_rng(seed)
    where, matrix, names = bins()
    groups = {topic: np.arange(place.stop - place.start) % GROUPS for topic, place in where.items()}
    popular = {topic: dice.normal(0, world.wander, GROUPS) for topic in where}
    step = world.wander * np.sqrt(1 - world.persistence**2)
    found = []
    for number in range(count):
        day = MONDAY + timedelta(days=number)
        off = world.weekends and day.weekday() >= 5
        weights = np.zeros(len(matrix))
        for topic, place in where.items():
            popular[topic] = world.persistence * popular[topic] + dice.normal(0, step, GROUPS)
            weights[place] = np.exp(popular[topic][groups[topic]]) / (place.stop - place.start)
        moved = moved_share(world, number)
        for topic, place in where.items():
            part = (WEEKEND if off else WORKING).get(topic, 0.0)
            weights[place] *= part * (1 - moved) + (moved if topic == world.shift else 0.0)
        size = dice.poisson(world.conversations * (0.4 if off else 1.0) * np.exp(dice.normal(0, 0.1)))
        drawn = dice.multinomial(size, weights / weights.sum())
        counts = drawn @ matrix
        found.append(
            Day(
                date=day,
                fingerprint=Fingerprint(
                    looked=size, seen=size, squares=size,
                    counts={names[at]: int(counts[at]) for at in np.flatnonzero(counts)},
                ),
            )
        )  # fmt: skip
    return found


def moved_share(world: World, number: int) -> float:
    passed = number - world.shift_day + 1
    if passed <= 0:
        return 0.0
    return world.share * (min(1.0, passed / world.over_days) if world.over_days else 1.0)
