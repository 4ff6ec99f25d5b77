"""Charts without a plotting library: rows of SVG tracks whose x is in percent, so they fit any width and text keeps its size.

The same chart is HTML with CSS variables in the report (light, dark, narrow, wide) and one SVG image for other pages.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup

IMAGE_WIDTH = 760  # px of a chart as an image
LABEL_HEIGHT = 24
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a chart: a label, a value in words, and a track drawn below them."""

    label: str
    value: str
    track: Markup  # SVG elements; x in percent, y in px
    height: int  # px


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture with its explanation."""

    title: str
    note: str  # how to read it, and what the whiskers are
    rows: tuple[Row, ...]
    legend: tuple[tuple[str, str], ...] = ()  # (CSS class, text)
    wide: bool = False  # so many rows that they take two columns

    def html(self) -> Markup:
        """A figure for the report."""
        rows = Markup("").join(
            Markup(
                '<div class="row"><div class="row-head"><span class="row-label">{}</span>'
                '<span class="row-value">{}</span></div>{}</div>'
            ).format(row.label, row.value, svg(row.track, row.height, f"{row.label} {row.value}"))
            for row in self.rows
        )
        legend = Markup("").join(
            Markup('<span class="key"><i class="swatch {}"></i>{}</span>').format(kind, text)
            for kind, text in self.legend
        )
        return Markup(
            '<figure class="chart{}"><figcaption><h3>{}</h3><p class="legend">{}</p></figcaption>'
            '<div class="rows">{}</div><p class="note">{}</p></figure>'
        ).format(" wide" if self.wide else "", self.title, legend, rows, self.note)

    def image(self) -> str:
        """One SVG image that brings its colours along; for pages that show images only."""
        parts, y = [Markup('<text class="title" x="20" y="34">{}</text>').format(self.title)], 46
        x = 20
        for kind, text in self.legend:
            parts.append(
                Markup(
                    '<rect class="{}" x="{}" y="{}" width="12" height="12" rx="3"/><text class="tick" x="{}" y="{}">{}</text>'
                ).format(kind, x, y, x + 18, y + 10, text)
            )
            x += 34 + 7 * len(text)
        y += 30 if self.legend else 8
        width = IMAGE_WIDTH - 40
        for row in self.rows:
            if row.label or row.value:
                parts.append(
                    Markup(
                        '<text class="label" x="20" y="{}">{}</text><text class="label end" x="{}" y="{}">{}</text>'
                    ).format(y + 15, row.label, IMAGE_WIDTH - 20, y + 15, row.value)
                )
                y += LABEL_HEIGHT
            parts.append(
                Markup('<svg x="20" y="{}" width="{}" height="{}">{}</svg>').format(y, width, row.height, row.track)
            )
            y += row.height + 8
        return str(
            Markup(
                '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img">'
                "<title>{2}</title><style>{3}</style>"
                '<rect class="page" width="100%" height="100%"/>{4}</svg>'
            ).format(IMAGE_WIDTH, y + 12, self.title, Markup(chart_css()), Markup("").join(parts))  # noqa: S704 - our own file
        )

    def data_url(self) -> str:
        """The image as an address that an image tag can show."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.image().encode()).decode()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Maps values to percent of the width, with a little room on both sides."""

    low: float
    high: float
    margin: float = 1.5

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.margin + (100 - 2 * self.margin) * min(1.0, max(0.0, share)), 3)


@cache
def chart_css() -> str:
    return (TEMPLATES / "chart.css").read_text(encoding="utf-8")


def svg(content: Markup, height: int, text: str) -> Markup:
    """An inline SVG as wide as its container; `text` is for those who can't see it."""
    return Markup('<svg class="track" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        height, text, content
    )


def line(x1: float, x2: float, y1: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(kind, x1, x2, y1, y2)


def path(points: Sequence[tuple[float, float]], height: int, kind: str) -> Markup:
    """A line through many points, x in percent and y in px of a track `height` high."""
    told = " ".join(f"{x:g},{y:g}" for x, y in points)
    return Markup(
        '<svg width="100%" height="{0}" viewBox="0 0 100 {0}" preserveAspectRatio="none"><polyline class="{1}" points="{2}"/></svg>'
    ).format(height, kind, told)


def box(x1: float, x2: float, y: float, height: float, kind: str, *, radius: float = 0) -> Markup:
    return Markup('<rect class="{}" x="{}%" width="{}%" y="{}" height="{}" rx="{}"/>').format(
        kind, x1, round(max(0.0, x2 - x1), 3), y, height, radius
    )


def dot(x: float, y: float, kind: str, radius: float = 5) -> Markup:
    return Markup('<circle class="{}" cx="{}%" cy="{}" r="{}"/>').format(kind, x, y, radius)


def words(x: float, y: float, content: str, kind: str = "tick", *, dx: float = 0) -> Markup:
    """Text at `x` percent; classes `end` and `middle` anchor it there."""
    return Markup('<text class="{}" x="{}%" y="{}" dx="{}">{}</text>').format(kind, x, y, dx, content)


def joined(parts: Sequence[Markup]) -> Markup:
    return Markup("").join(parts)
