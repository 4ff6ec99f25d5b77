"""Three pictures: what served each model's volume, coverage week by week, and how long quantizing took month by month."""

from __future__ import annotations

from datetime import date

from markupsafe import Markup

from quantplay.adoption.coverage import STATES, ModelRow
from quantplay.adoption.facts import KINDS, Kind
from quantplay.adoption.report import Adoption
from quantplay.adoption.words import hours_words, named, part, period
from quantplay.handoff.charts import Chart, Row, Scale, box, dot, joined, line, path, words

TONES: dict[Kind, tuple[str, str]] = {
    "validated": ("bar good", "validated"),
    "stale": ("bar warn", "stale"),
    "regressed": ("bar bad", "regressed, taken back"),
    "unvalidated": ("cand", "not validated"),
    "full_precision": ("base", "full precision"),
    "untold": ("bar faint", "not told"),
}
"""Kind -> class of its part of a bar, and its word in the legend, which has one line."""
SHOWN = 12  # models; the rest are one row
MONTHS = 12  # the newest
BAR = 16  # px
HEIGHT, TOP, BOTTOM = 124, 18, 100  # px of the weeks


def volume_chart(found: Adoption) -> Chart | None:
    """A bar a model, the largest first, as long as its volume; None without volume."""
    told = found.coverage
    if not told.requests:
        return None
    rows = [
        Row(
            label="Everything",
            value=f"{part(told.covered or 0.0)} covered, {told.requests:,} requests",
            track=bar(told.by, told.requests),
            height=BAR,
        )
    ]
    largest = found.models[0].requests
    rows += [
        Row(label=f"{one.rank}  {named(one)}", value=value_of(one), track=bar(one.by, largest), height=BAR)
        for one in found.models[:SHOWN]
    ]
    if rest := found.models[SHOWN:]:
        by: dict[Kind, int] = {kind: sum(one.by.get(kind, 0) for one in rest) for kind in KINDS}
        share = sum(one.share for one in rest)
        rows.append(
            Row(label=f"{len(rest)} more", value=f"{part(share)} of requests", track=bar(by, largest), height=BAR)
        )
    there: list[Kind] = [kind for kind in KINDS if told.by[kind]]
    return Chart(
        title="What serves the volume",
        note=f"Requests, {period(found)}. The first bar is everything; below it each model as long as its volume beside the largest.",
        rows=tuple(rows),
        legend=tuple(TONES[kind] for kind in there),
    )


def value_of(one: ModelRow) -> str:
    return f"{part(one.share)} of requests · {STATES[one.state]}"


def bar(by: dict[Kind, int], whole: int) -> Markup:
    """Parts one after the other, in percent of `whole`."""
    parts, sofar = [], 0
    for kind in KINDS:
        count = by.get(kind, 0)
        if count:
            parts.append(box(100 * sofar / whole, 100 * (sofar + count) / whole, 0, BAR, TONES[kind][0]))
            sofar += count
    return joined(parts)


def weeks_chart(found: Adoption) -> Chart | None:
    """Coverage as each look found it; None before there are two."""
    points = [(date.fromisoformat(one.day), one.covered) for one in found.before if one.covered is not None]
    today = date.fromisoformat(found.at[:10])
    if found.coverage.covered is not None and (not points or points[-1][0] != today):
        points.append((today, found.coverage.covered))
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    times = Scale(low=points[0][0].toordinal(), high=points[-1][0].toordinal(), margin=11)
    parts = []
    for tick in (0, 50, 100):
        parts += [
            line(0, 100, height(tick / 100), height(tick / 100), "grid"),
            words(0, height(tick / 100) - 3, f"{tick} %"),
        ]
    drawn = [(times.at(day.toordinal()), height(covered)) for day, covered in points]
    parts.append(path(drawn, HEIGHT, "cand"))
    parts += [dot(x, y, "cand", 4) for x, y in drawn]
    parts.append(words(drawn[0][0], BOTTOM + 18, f"{points[0][0]}", "tick start"))
    parts.append(words(drawn[-1][0], BOTTOM + 18, f"{points[-1][0]}", "tick end"))
    return Chart(
        title="Coverage over time",
        note="Share of requests that validated quantized models served, as each look found it over its own period.",
        rows=(Row(label=f"{len(points)} looks", value=f"{part(points[-1][1])} now", track=joined(parts), height=HEIGHT),),
    )  # fmt: skip


def height(share: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * share, 1)


def months_chart(found: Adoption) -> Chart | None:
    """A bar a month, as long as the median; None before a package is locked."""
    months = found.timing.months[-MONTHS:]
    longest = max((one.median_hours for one in months), default=0.0)
    if not longest:
        return None
    return Chart(
        title="From the start of a run to its lock",
        note=f"Median of the packages locked in each month, UTC; waiting is in it. {found.timing.trend}",
        rows=tuple(
            Row(
                label=one.month, value=f"{hours_words(one.median_hours)}, {one.locked:,} locked", height=BAR,
                track=box(0, 100 * one.median_hours / longest, 0, BAR, "cand"),
            )
            for one in months
        ),
    )  # fmt: skip
