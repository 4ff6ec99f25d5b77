"""Adoption as HTML: a fragment for a site that has our style sheet, and a page that is complete in itself. No script, nothing loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from quantplay.adoption import words
from quantplay.adoption.chart import months_chart, volume_chart, weeks_chart
from quantplay.adoption.coverage import STATES, State
from quantplay.adoption.facts import KINDS
from quantplay.adoption.markdown import counted
from quantplay.adoption.report import Adoption
from quantplay.handoff.charts import TEMPLATES as OF_REPORTS
from quantplay.handoff.charts import chart_css

TONES: dict[State, str] = {
    "validated": "good", "stale": "warn", "regressed": "bad", "unvalidated": "warn", "declined": "good", "tried": "info",
    "under_way": "info", "never": "info",
}  # fmt: skip
"""Declined with a reason is right, so it looks it."""
MOST = 100  # rows of a table; the JSON has all


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number to see first."""

    label: str
    value: str
    note: str  # its base
    tone: str = ""


def adoption_page(found: Adoption) -> str:
    css = Markup(chart_css() + (OF_REPORTS / "report.css").read_text(encoding="utf-8"))  # noqa: S704 - our own files
    return environment().get_template("page.html.jinja").render(found=found, css=css, fragment=adoption_fragment(found))


def adoption_fragment(found: Adoption, packages: str = "") -> Markup:
    """What stands in a page's `main`; it takes chart.css and report.css, and no inline style. packages: where a package's page is, by its key."""
    return Markup(  # noqa: S704 - the template escapes
        environment().get_template("fragment.html.jinja").render(
            found=found, tiles=tiles(found), most=MOST, volume=volume_chart(found), packages=packages,
            beside=[one for one in (weeks_chart(found), months_chart(found)) if one is not None],
        )
    )  # fmt: skip


def tiles(found: Adoption) -> tuple[Tile, ...]:
    told, time, wrong = found.coverage, found.timing, found.went_wrong
    tokens = f"of {told.tokens:,} known tokens" if told.tokens else "no tokens are counted"
    saved = [
        (f"{one.saved:,.0f} {one.currency}", f"since {found.savings.since}, by the plans' prices")
        for one in found.savings.money
    ]
    none_why = "no plan of them names one" if found.savings.packages else "no validated package served anything"
    return (
        Tile(label="Covered", value=known(told.covered), note=f"of {told.requests:,} requests"),
        Tile(label="Settled", value=known(told.settled), note="covered, or declined with a reason"),
        Tile(label="Covered by tokens", value=known(told.tokens_covered), note=tokens),
        Tile(
            label="From start to lock", value="not known" if time.median_hours is None else words.hours_words(time.median_hours),
            note=f"median of {time.locked:,} locked package{'' if time.locked == 1 else 's'}",
        ),
        *(Tile(label="Saved in serving", value=value, note=note) for value, note in saved or [("not known", none_why)]),
        Tile(
            label="Device-hours", value=words.hours_of(found.device_hours) if found.device_hours.jobs else "none",
            note=f"{words.hours_of(found.device_hours_of_period)} of them since {found.since}" if found.device_hours.jobs else "no job is on record",
        ),
        Tile(
            label="Escaped to production", value=f"{wrong.seen_first['production']:,}",
            note=f"{wrong.seen_first['gate']:,} caught at the gate, {wrong.seen_first['revalidation']:,} by a re-validation",
            tone="bad" if wrong.of_period["production"] else "",
        ),
        Tile(
            label="Open incidents", value=f"{wrong.incidents_open:,}", note=f"{wrong.incidents_closed:,} closed",
            tone="warn" if wrong.incidents_open else "",
        ),
    )  # fmt: skip


def known(share: float | None) -> str:
    return "not known" if share is None else words.part(share)


def with_code(text: str) -> Markup:
    """`` `this` `` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


@cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"percent": words.part, "code": with_code, "count": "{:,}".format}
    made.globals |= {"words": words, "states": STATES, "tones": TONES, "kinds": KINDS, "counted": counted}
    return made
