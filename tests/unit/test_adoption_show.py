"""What people read of adoption: every number with its base, unknown never 0, nothing cut off, and a picture that adds up."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import date, timedelta
from xml.etree import ElementTree

import pytest
from adoption_facts import (
    BROKEN,
    CONFIRMED,
    MODELS,
    NOW,
    OPEN,
    PACKAGES,
    STALE,
    VOLUMES,
    case,
    facts,
    job,
    package,
    row,
    run,
    wrong,
)
from hypothesis import given, settings
from rich.console import Console

from quantplay.adoption.chart import SHOWN, volume_chart, weeks_chart
from quantplay.adoption.facts import Facts, Past, Served
from quantplay.adoption.markdown import adoption_markdown
from quantplay.adoption.report import Adoption, measured
from quantplay.adoption.words import BEGIN, coverage_sentences, part
from quantplay.cli.render_adoption import adoption_parts
from quantplay.plays.funnel import Passage

REASON = (
    "Already small enough: full precision meets every limit of the plan (memory_mib), and memory is what was to be won."
)
DECLINED = "e" * 64


def company() -> Facts:
    """A little of everything."""
    priced = replace(CONFIRMED, case=case(quantizing_cost=100), name="support-desk")
    other = package(9, name="summaries", model="9" * 64)
    rows = (
        row("support-desk", package=priced.key, requests=620_000, tokens=310_000_000),
        row("support-desk", arm="full_precision", requests=32_000, tokens=16_000_000),
        row("summaries", package=other.key, model=other.model, requests=90_000),
        row("search", package=STALE.key, model=MODELS[1], requests=140_000, tokens=9_000_000),
        row("chat", package=BROKEN.key, model=MODELS[2], requests=30_000),
        row("translate", arm="full_precision", model=DECLINED, requests=60_000),
        row("trial", package=None, model=None, requests=5_000),
        row("nobody-knows", arm="untold", model=None, requests=12_000),
    )
    tried = (
        run(1, name="support-desk"), run(2, model=MODELS[1], name="search"), run(3, model=MODELS[2], name="chat"),
        run(4, model=DECLINED, name="translate", outcome="declined", left_at="envelope", package=None, wrong_moves=(REASON,)),
        run(5, model="7" * 64, name="rerank", outcome="close", package=None),
    )  # fmt: skip
    passages = tuple(
        Passage(run=one.run, model=one.model or "", plays=frozenset({"ptq"}), left_at=one.left_at, outcome=one.outcome)  # type: ignore[arg-type]
        for one in tried
    )
    return facts(
        *rows, packages={**PACKAGES, priced.key: priced, other.key: other}, tried=tried, passages=passages,
        jobs=(job(1.5), job(0.25, play="baseline"), job(1, outcome="lost")), went_wrong=wrong(gate=7, revalidation=2, production=1, still=1),
        past=tuple(Past(day=date(2026, 10, 5) + timedelta(days=7 * n), source="csv", requests=900_000, covered=100_000 * (n + 1)) for n in range(6)),
    )  # fmt: skip


def drawn(found: Adoption, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, no_color=True, highlight=False)
    for one in adoption_parts(found, width):
        console.print(one)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_shows_all_of_it(width: int) -> None:
    text = drawn(measured(company()), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    flat = " ".join(text.split())
    assert (
        "Validated quantized models served 71.8 % of 989,000 requests (2026-10-24 to 2026-11-22 07:00 UTC, usage.csv)."
        in flat
    )
    assert "60,000 requests (6.1 %) went to models for which quantizing was declined with a reason" in flat
    assert "with them 77.9 % is settled" in flat
    assert "By tokens: 92.5 % of 335,000,000, which are known for 80.1 % of the requests." in flat
    assert "Not attributed: 17,000 requests (1.7 %)" in flat
    assert (
        "The largest 2 of 7 models have 80.1 % of the volume; 1 validated, 0 declined with a reason, 1 to go." in flat
    )
    assert "On 2026-11-09 it was 66.7 % of 900,000 requests." in flat
    assert re.search(r"1 +support-desk +652,000 +65\.9 % +95\.1 %", text)
    assert (
        "Regressions: 7 caught at the gate (7 since 2026-10-24); 2 caught by a re-validation before anybody was served"
        in flat
    )
    assert "1 escaped to production (1 since 2026-10-24). Incidents: 1 open, 2 closed." in flat
    assert (
        "Saved since 2026-10-24: 248.00 USD of serving, before the 100.00 that the plans say quantizing cost." in flat
    )
    assert "1 of 2 packages name no saving in money" in flat
    assert (
        "Device-hours: 1.75 in all (ptq 1.50, baseline 0.25), 1.75 since 2026-10-24; not counted: 1 that still run or were lost"
        in flat
    )
    assert "No trend is told from" in flat
    assert "rerank" in flat


def test_a_page_says_what_the_terminal_says() -> None:
    found = measured(company())
    page = adoption_markdown(found)
    for sentence in coverage_sentences(found):
        assert sentence.split(" (")[0].split(":")[0] in page.replace("\\", "")
    assert "| 1 | support-desk | 652,000 | 65.9 % | 95.1 % | quantized, validated |" in page
    assert REASON.split(":")[0] in page
    assert "### Quantized, and not counted" in page


def test_nothing_at_all_says_how_to_begin() -> None:
    found = measured(facts(packages={}))
    assert found.is_empty
    for text in (" ".join(drawn(found, 80).split()), adoption_markdown(found)):
        assert all(line in text for line in BEGIN)
    assert volume_chart(found) is None


def test_what_is_not_known_is_said_and_never_0() -> None:
    found = measured(facts(tried=(run(1),)))
    text = " ".join(drawn(found, 80).split())
    assert "Coverage is not known: there is no request on record" in text
    assert "Device-hours: no job is on record." in text
    assert "0.0 %" not in text + adoption_markdown(found)
    body = found.body()
    assert (body["coverage"]["covered"], body["coverage"]["tokens_covered"]) == (None, None)


@settings(max_examples=40, deadline=None)
@given(VOLUMES)
def test_every_volume_can_be_shown(rows: list[Served]) -> None:
    found = measured(facts(*rows))
    for width in (80, 160):
        assert drawn(found, width)
    adoption_markdown(found)
    chart = volume_chart(found)
    assert (chart is None) == (not rows)
    if chart is not None:
        ElementTree.fromstring(chart.image())
        widths = [sum(float(one) for one in re.findall(r'width="([\d.]+)%"', line.track)) for line in chart.rows]
        assert widths[0] == pytest.approx(100, abs=0.1)
        assert widths[1] == pytest.approx(100, abs=0.1)  # the largest model
        for one, width in zip(found.models, widths[1:], strict=False):
            assert width == pytest.approx(100 * one.requests / found.models[0].requests, abs=0.1)


def test_many_models_are_one_bar_at_the_end() -> None:
    rows = [row(f"m{n}", arm="untold", model=None, requests=100 - n) for n in range(30)]
    chart = volume_chart(measured(facts(*rows)))
    assert chart is not None
    assert len(chart.rows) == 1 + SHOWN + 1
    assert chart.rows[-1].label == "18 more"


def test_weeks_are_drawn_once_there_are_two() -> None:
    assert weeks_chart(measured(facts(row(package=CONFIRMED.key)))) is None
    chart = weeks_chart(measured(company()))
    assert chart is not None
    assert chart.rows[0].track.count("<circle") == 7
    heights = [float(one) for one in re.findall(r'cy="([\d.]+)"', chart.rows[0].track)]
    assert heights == sorted(heights, reverse=True)  # coverage rises from week to week
    assert OPEN.incident is not None
    assert NOW.year == 2026


def test_nearly_all_is_not_all_and_hardly_any_is_not_none() -> None:
    shares = {
        0: "0.0 %",
        1e-9: "< 0.1 %",
        0.0004: "< 0.1 %",
        0.0006: "0.1 %",
        0.9994: "99.9 %",
        0.9996: "> 99.9 %",
        1 - 1e-9: "> 99.9 %",
        1: "100.0 %",
    }
    assert {share: part(share) for share in shares} == shares
    found = measured(facts(row(package=CONFIRMED.key, requests=999_999), row(arm="full_precision", requests=1)))
    text = drawn(found, 80) + adoption_markdown(found)
    assert "served > 99.9 % of 1,000,000" in text
    assert not re.search(r"(?<!\d)0\.0 %", text)
