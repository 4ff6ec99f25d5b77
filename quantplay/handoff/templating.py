"""The templates beside this module. HTML is escaped by itself; Markdown goes through `md`."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, StrictUndefined

from quantplay.handoff import words
from quantplay.handoff.charts import TEMPLATES

MARKDOWN_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>|#~"})


def md(value: object) -> str:
    """One line of text that Markdown shows as it is, in a table cell too."""
    return " ".join(str(value).split()).translate(MARKDOWN_SPECIAL)


@cache
def _environment(html: bool) -> Environment:
    from jinja2 import FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,  # noqa: S701 - Markdown must not be escaped as HTML; `md` does what it needs
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    named = ("number", "compact", "percent", "size", "duration", "interval", "type_words", "drop_text")
    environment.filters |= {name: getattr(words, name) for name in named} | {"md": md}
    return environment


def render(name: str, **values: object) -> str:
    """`templates/NAME` with `values`; a value it lacks is an error. HTML is escaped in *.html.jinja."""
    return _environment(name.endswith(".html.jinja")).get_template(name).render(**values)
