"""Templates to pages. What people wrote is escaped everywhere; a value that a template lacks is an error."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from quantplay.handoff import words
from quantplay.handoff.charts import TEMPLATES as OF_REPORTS
from quantplay.handoff.charts import chart_css
from quantplay.web.around import outcome_title
from quantplay.web.package import STANDING_TONES, TONES, serving_words
from quantplay.web.sessions import VISITOR

TEMPLATES = Path(__file__).parent / "templates"
MENU = (
    ("/", "Models"), ("/sign", "To sign"), ("/endpoints", "Endpoints"), ("/incidents", "Incidents"), ("/funnel", "Funnel"),
    ("/adoption", "Adoption"),
)  # fmt: skip


@cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {name: getattr(words, name) for name in ("number", "compact", "percent", "size")}
    made.filters |= {"when": when, "day": day, "address": address, "role": role}
    made.globals |= {
        "menu": MENU, "standing_tones": STANDING_TONES, "verdict_tones": TONES,
        "serving_words": serving_words, "outcome_title": outcome_title, "visitor": VISITOR.get,
    }  # fmt: skip
    return made


def draw(name: str, here: str, **values: Any) -> str:
    """`templates/NAME.html.jinja`; here: the address in the menu that it belongs to."""
    return environment().get_template(f"{name}.html.jinja").render(here=here, **values)


@cache
def css() -> str:
    """The style of the report, and what pages have beyond it."""
    return "".join([
        chart_css(), (OF_REPORTS / "report.css").read_text(encoding="utf-8"), (TEMPLATES / "web.css").read_text(encoding="utf-8")
    ])  # fmt: skip


def when(at: datetime | str) -> str:
    """`2026-11-22 07:10`, in UTC; of a text, as records have it, the same."""
    moment = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    return f"{moment.astimezone(UTC) if moment.tzinfo else moment:%Y-%m-%d %H:%M}"


def day(at: datetime | str) -> str:
    return when(at)[:10]


def role(name: str) -> str:
    """`ML engineer`."""
    return name.replace("_", " ").replace("ml ", "ML ")


def address(text: str) -> str:
    """As a part of an address."""
    return quote(text, safe="")
