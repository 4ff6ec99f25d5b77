"""Answers that changed their score, to be read by a person: lost ones first, taken from every slice in turn."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from quantplay.handoff.contents import RunResults
from quantplay.handoff.words import title_of
from quantplay.records import ItemResult

MOST_SHOWN = 40
ROOM_FOR_WON = 8  # of them, when there are more lost ones than fit
LONGEST_TEXT = 4000  # characters of a prompt or answer in the report; items.parquet holds the whole


@dataclass(frozen=True, kw_only=True)
class Flip:
    """One item that one model got right and the other did not."""

    id: str
    title: str  # of its slice
    lost: bool
    prompt: str | None
    expected: str | None
    baseline: str
    candidate: str
    notes: tuple[str, ...]  # what else there is to know


@dataclass(frozen=True, kw_only=True)
class Flips:
    shown: tuple[Flip, ...]  # lost ones first
    lost: int
    won: int
    items: int


def collect_flips(results: RunResults, most: int = MOST_SHOWN) -> Flips | None:
    """The flips of a run; None where no candidate was evaluated."""
    if results.baseline is None or results.evaluation is None:
        return None
    candidate = {item.id: item for item in results.evaluation.candidate.items}
    pairs = [(item, candidate[item.id]) for item in results.baseline.source.items if item.id in candidate]
    lost = in_turn([(a, b) for a, b in pairs if b.score < a.score])
    won = in_turn([(a, b) for a, b in pairs if b.score > a.score])
    room = max(most - len(won), most - ROOM_FOR_WON)
    shown = lost[:room] + won[: most - len(lost[:room])]
    reference = {item.id: item.score for item in results.baseline.reference.items}
    hardest = set(results.baseline.hardest)
    return Flips(
        shown=tuple(describe(results, a, b, reference.get(a.id), a.id in hardest) for a, b in shown),
        lost=len(lost),
        won=len(won),
        items=len(pairs),
    )


def in_turn(pairs: Sequence[tuple[ItemResult, ItemResult]]) -> list[tuple[ItemResult, ItemResult]]:
    """One of every slice, then the second of every slice, and so on; within a slice the largest change first."""
    by_slice: dict[str, list[tuple[ItemResult, ItemResult]]] = {}
    for pair in sorted(pairs, key=lambda pair: -abs(pair[0].score - pair[1].score)):
        by_slice.setdefault(pair[0].slice, []).append(pair)
    return [pair for round_ in zip_longest(*by_slice.values()) for pair in round_ if pair is not None]


def describe(
    results: RunResults, before: ItemResult, after: ItemResult, reference: float | None, hardest: bool
) -> Flip:
    question = results.questions.get(before.id)
    notes = [f"score {before.score:.2f} → {after.score:.2f}"] if before.graded or after.graded else []
    if hardest:
        notes.append("among the hardest")
    if reference is not None and reference == after.score:
        notes.append("already so after conversion")  # full precision in the serving runtime scored like the candidate
    return Flip(
        id=before.id,
        title=title_of(results.plan, before.slice),
        lost=after.score < before.score,
        prompt=visible(question.prompt) if question and question.prompt is not None else None,
        expected=visible(question.answer) if question and question.answer is not None else None,
        baseline=visible(before.response),
        candidate=visible(after.response),
        notes=tuple(notes),
    )


def visible(text: str) -> str:
    """`text` with control and direction characters shown as their code, and cut to a readable length."""
    cut = (
        text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} … ({len(text) - LONGEST_TEXT:,} characters more)"
    )
    return "".join(shown(character) for character in cut)


def shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co"):
        return character
    return f"⟨U+{ord(character):04X}⟩"
