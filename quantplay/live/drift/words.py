"""Fingerprints and their differences in words that a product owner understands."""

from __future__ import annotations

import numpy as np

from quantplay.live.drift.features import CODE, JSON, TOOLS, bucket_start
from quantplay.live.drift.fingerprint import Array, Fingerprint
from quantplay.live.drift.languages import LANGUAGES

NAMES = {
    "words": "length of prompts", "turns": "turns", "language": "languages", "form": "code, JSON and tools", "mark": "words in use",
    "answer": "length of answers", "domain": "told apart by a classifier",
}  # fmt: skip
DOMAIN = "domain"
FORMS = ((CODE, "code"), (JSON, "JSON"), (TOOLS, "tools"))
LEAST_SHARE = 0.01


def median(counts: Array) -> float:
    """Of bucketed numbers; evenly spread within a bucket."""
    half = counts.sum() / 2
    number = int(np.searchsorted(np.cumsum(counts), half))
    inside = (half - counts[:number].sum()) / max(1.0, counts[number])
    low, high = bucket_start(number), bucket_start(number + 1)
    return low + inside * (high - low)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if 0 < share < 0.0995 else f"{100 * share:.0f} %"


def share_with(counts: Array, bit: int) -> float:
    holds = [number for number in range(len(counts)) if number & bit]
    return float(counts[holds].sum() / counts.sum())


def described(fingerprint: Fingerprint | None, family: str) -> str:
    """What conversations are like in one respect; empty where nothing is known."""
    counts = fingerprint.bins(family) if fingerprint is not None else np.zeros(1)
    total = counts.sum()
    if not total:
        return ""
    if family in ("words", "answer"):
        return f"median {median(counts):.0f} {'words' if family == 'words' else 'tokens'}"
    if family == "turns":
        return f"{percent(counts[3:].sum() / total)} of more than one"  # bucket 2 holds one turn, 3 two
    if family == "form":
        return ", ".join(f"{percent(share_with(counts, bit))} {name}" for bit, name in FORMS)
    if family == "language":
        order = [number for number in np.argsort(-counts, kind="stable") if counts[number] >= LEAST_SHARE * total]
        return ", ".join(f"{percent(counts[number] / total)} {LANGUAGES[number]}" for number in order[:4])
    return ""


def change(family: str, now: Fingerprint, before: Fingerprint, what: str, distance: float, limit: float) -> str:
    """One sentence: `now` against `before`, which is `what`."""
    if family == DOMAIN:
        return (
            f"A classifier tells the prompts from those before: {distance:.2f} of 1, where up to {limit:.2f} is usual."
        )
    ours, theirs = described(now, family), described(before, family)
    mine, other = now.bins(family), before.bins(family)
    if family in ("words", "answer"):
        noun, longer = ("Prompts", "longer") if family == "words" else ("Answers", "longer")
        if median(mine) < median(other):
            longer = "shorter"
        return f"{noun} are {longer}: {ours}, {what} {median(other):.0f}."
    if family == "form":
        bit, name = max(FORMS, key=lambda one: abs(share_with(mine, one[0]) - share_with(other, one[0])))
        verb = "use" if bit == TOOLS else "hold"
        return f"{percent(share_with(mine, bit))} of conversations {verb} {name}, {what} {percent(share_with(other, bit))}."
    if family == "language":
        return f"The languages are others: {ours}; {what} {theirs}."
    if family == "turns":
        return (
            f"Conversations begin with other numbers of turns: {ours}; {what} {percent(other[3:].sum() / other.sum())}."
        )
    return f"Other words are in use: {distance:.3f} bits away from {what}, where up to {limit:.3f} is usual."
