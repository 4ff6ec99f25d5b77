"""Adoption as HTML: all of it is there, nothing can run or be loaded, and it brings no style of its own into another page."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from adoption_facts import CONFIRMED, MODELS, VOLUMES, facts, row, run
from hypothesis import given, settings
from test_adoption_show import REASON, company

from quantplay.adoption.facts import Served
from quantplay.adoption.page import adoption_fragment, adoption_page
from quantplay.adoption.report import Adoption, measured

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
WITHOUT_END = {"meta", "br", "img", "input", "link", "hr"}


class Read(HTMLParser):
    """Tags, attributes and text; fails where tags are not closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_page_says_all_of_it() -> None:
    text = Read(adoption_page(measured(company()))).text
    for said in (
        "Validated quantized models served 71.8 % of 989,000 requests", "2026-10-24 to 2026-11-22 07:00 UTC, usage.csv",
        "with them 77.9 % is settled", "92.5 %", "Coverage over time", "3.0 h, 3 locked", REASON, "248.00 USD", "3.00 GiB freed a server",
        "2 USD a million x 40 %", "caught at the gate 7 7", "escaped to production 1 1", "rerank", "post-training quantization",
    ):  # fmt: skip
        assert said in text, said


def test_what_people_wrote_stays_text() -> None:
    hostile = replace(CONFIRMED, name=HOSTILE, why=HOSTILE)
    rows = (
        row(HOSTILE, package=hostile.key),
        row(HOSTILE, arm="untold", model=None),
        row("x", package=None, model=None),
    )
    tried = (
        run(1, name=HOSTILE, outcome="declined", model=MODELS[3], package=None, wrong_moves=(HOSTILE,)),
        run(2, name=HOSTILE, outcome=HOSTILE, model=MODELS[2]),
    )
    page = Read(adoption_page(measured(facts(*rows, packages={hostile.key: hostile}, tried=tried))))
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert HOSTILE in "".join(page.words)


@settings(max_examples=30, deadline=None)
@given(VOLUMES)
def test_every_volume_makes_a_whole_page_that_loads_nothing(rows: list[Served]) -> None:
    found = measured(facts(*rows))
    part = Read(adoption_fragment(found))
    assert not {"script", "style", "link", "iframe", "img", "form"} & set(part.tags)
    assert not {"style", "src", "href"} & {name for name, _ in part.attributes}
    whole = Read(adoption_page(found))
    assert part.text in whole.text
    assert all(f"{one.requests:,}" in part.text for one in found.models)


def test_nothing_at_all_says_how_to_begin() -> None:
    page = Read(adoption_page(measured(facts(packages={}))))
    assert "quantplay pilot takes a small real model through every play" in page.text
    assert "not known" not in page.text


def test_what_is_not_known_is_said() -> None:
    found: Adoption = measured(facts(tried=(run(1),)))
    text = Read(adoption_page(found)).text
    assert "Coverage is not known: there is no request on record" in text
    assert "Covered not known of 0 requests" in text
    assert "0.0 %" not in text
