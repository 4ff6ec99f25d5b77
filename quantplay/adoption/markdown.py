"""Adoption as a page of Markdown, for people who own a product."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.adoption.coverage import STATES
from quantplay.adoption.facts import KINDS
from quantplay.adoption.report import Adoption
from quantplay.adoption.words import (
    BEGIN,
    coverage_sentences,
    device_sentence,
    hours_words,
    named,
    part,
    saving_words,
    savings_sentences,
    timing_sentences,
    wrong_sentences,
)
from quantplay.handoff.markdown import table
from quantplay.handoff.templating import md
from quantplay.outcomes import OUTCOMES

MOST = 50  # rows of a table; the JSON has all


def adoption_markdown(found: Adoption) -> str:
    if found.is_empty:
        return (
            "Nothing was run here, and nothing is served yet. To begin:\n\n"
            + "\n".join(f"- {one}" for one in BEGIN)
            + "\n"
        )
    return "\n\n".join(part for part in parts(found) if part) + "\n"


def parts(found: Adoption) -> Iterator[str]:
    first, *rest = coverage_sentences(found)
    yield f"**{md(first)}**"
    yield bullets([*rest, *found.notes])
    yield models_table(found)
    if found.apart:
        yield "### Quantized, and not counted"
        yield table(
            ("Where", "What", "Requests", "Why"),
            [(md(one.place), KINDS[one.kind], f"{one.requests:,}", md(one.why)) for one in found.apart[:MOST]], numbers=(2,),
        )  # fmt: skip
    if found.declined:
        yield "### Rightly not quantized"
        yield table(
            ("Model", "Requests", "Why"),
            [(md(one.name), "not known" if one.requests is None else f"{one.requests:,}", md(one.why)) for one in found.declined[:MOST]],
            numbers=(1,),
        )  # fmt: skip
    if found.without_volume:
        yield "### Volume not known"
        yield table(
            ("Model", "What it is", "Why"),
            [(md(one.name), STATES[one.state], md(one.why)) for one in found.without_volume[:MOST]],
        )
    yield "### How long it takes"
    yield bullets(timing_sentences(found.timing))
    if found.timing.months:
        rows = [(one.month, str(one.locked), hours_words(one.median_hours)) for one in found.timing.months]
        yield table(("Month", "Locked", "Median"), rows, numbers=(1, 2))
    yield "### What it saves, and what it takes"
    yield bullets([*savings_sentences(found), device_sentence(found)])
    if found.savings.packages:
        rows = [
            (md(one.name), one.package[:12], f"{one.requests:,}", saving_words(one), md(one.how))
            for one in found.savings.packages[:MOST]
        ]
        yield table(("Model", "Package", "Requests served", "Saved", "From"), rows, numbers=(2, 3))
    yield "### What went wrong"
    yield bullets(wrong_sentences(found))
    yield "### Where models leave the playbook"
    yield funnel_table(found)


def bullets(lines: Iterator[str] | list[str]) -> str:
    return "\n".join(f"- {md(line)}" for line in lines)


def models_table(found: Adoption) -> str:
    rows = [
        (str(one.rank), md(named(one)), f"{one.requests:,}", part(one.share), part(one.covered), STATES[one.state], md(one.why))
        for one in found.models[:MOST]
    ]  # fmt: skip
    if not rows:
        return ""
    head = ("", "Model", "Requests", "Of all", "Covered", "What it is", "Why")
    return table(head, rows, numbers=(0, 2, 3, 4))


def funnel_table(found: Adoption) -> str:
    rows = [
        (one.plays, one.name, str(one.models_entered), counted(one.models_left), str(one.runs_under_way or ""))
        for one in found.funnel
    ]
    return table(("Plays", "", "Models", "Left with", "Runs not left"), rows, numbers=(2, 4))


def counted(outcomes: dict[str, int]) -> str:
    return ", ".join(
        f"{OUTCOMES[name].title if name in OUTCOMES else md(name)} {count}" for name, count in outcomes.items()
    )
