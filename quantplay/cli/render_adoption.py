"""Adoption in a terminal: readable at 80 columns, fuller where there is room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from quantplay.adoption.coverage import STATES
from quantplay.adoption.facts import KINDS
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
from quantplay.cli.funnel import funnel_table
from quantplay.cli.render import WIDE, table_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.adoption import Adoption

STYLES = {"validated": "green", "stale": "yellow", "regressed": "red", "unvalidated": "magenta", "declined": "cyan"}
MOST = 30  # rows of a table; --json has all


def adoption_parts(found: Adoption, width: int) -> Iterator[RenderableType]:
    if found.is_empty:
        yield Text("Nothing was run here, and nothing is served yet. To begin:")
        for line in BEGIN:
            yield Padding(Text(f"- {line}"), (0, 0, 0, 2))
        return
    first, *rest = coverage_sentences(found)
    yield Text(first, style="bold")
    yield from lines([*rest, *found.notes])
    if found.models:
        yield models_table(found, width)
    if found.apart:
        yield table_of(
            "Quantized, and not counted", [("where", "text"), ("what", "text"), ("requests", "right"), ("why", "text")],
            ([one.place, KINDS[one.kind], f"{one.requests:,}", one.why] for one in found.apart[:MOST]),
        )  # fmt: skip
    if found.declined:
        yield table_of(
            "Rightly not quantized", [("model", "text"), ("requests", "right"), ("why", "text")],
            ([one.name, "not known" if one.requests is None else f"{one.requests:,}", one.why] for one in found.declined[:MOST]),
        )  # fmt: skip
    if found.without_volume:
        yield table_of(
            "Models of which no volume is told", [("model", "text"), ("what it is", "text"), ("why", "text")],
            ([one.name, STATES[one.state], one.why] for one in found.without_volume[:MOST]),
        )  # fmt: skip
    if found.timing.months:
        yield table_of(
            "From the start of a run to its lock",
            [("month", "left"), ("locked", "right"), ("median", "right")],
            ([one.month, str(one.locked), hours_words(one.median_hours)] for one in found.timing.months),
        )
    yield from lines(timing_sentences(found.timing))
    if found.savings.packages:
        yield table_of(
            f"Saved since {found.savings.since}", [("model", "text"), ("requests", "right"), ("saved", "text"), ("from", "text")],
            ([one.name, f"{one.requests:,}", saving_words(one), one.how] for one in found.savings.packages[:MOST]),
        )  # fmt: skip
    yield from lines([*savings_sentences(found), device_sentence(found), *wrong_sentences(found)])
    if found.runs:
        yield funnel_table(found.funnel)


def lines(some: Iterator[str] | list[str]) -> Iterator[RenderableType]:
    for one in some:
        yield Padding(Text(one), (0, 0, 0, 2))


def models_table(found: Adoption, width: int) -> RenderableType:
    wide = width >= WIDE
    columns = [("", "right"), ("model", "text"), ("requests", "right"), ("of all", "right"), ("covered", "right")]
    columns += [("up to here", "right"), ("what it is", "left"), ("why", "text")] if wide else [("what it is", "left")]
    rows = []
    for one in found.models[:MOST]:
        row: list[RenderableType] = [
            str(one.rank),
            named(one),
            f"{one.requests:,}",
            part(one.share),
            part(one.covered),
        ]
        row += [part(one.up_to_here)] if wide else []
        row += [Text(STATES[one.state], style=STYLES.get(one.state, ""))]
        rows.append([*row, one.why] if wide else row)
    more = len(found.models) - MOST
    return table_of(
        f"Models by volume{f', the largest {MOST}; {more} more in --json' if more > 0 else ''}", columns, rows
    )
