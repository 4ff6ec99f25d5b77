"""Markdown of a run, the model card and the charts as images."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from factories import made_package, made_run
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from quantplay.handoff import (
    all_charts,
    baseline_markdown,
    envelope_markdown,
    gate_markdown,
    summary_markdown,
)
from quantplay.handoff.card import render_card
from quantplay.handoff.contents import RunResults
from quantplay.handoff.plots import Z95, nice_ticks, tolerance_bar, tolerance_scale, wilson
from quantplay.handoff.readme import render_readme
from quantplay.handoff.templating import md


@pytest.fixture(scope="module")
def run() -> RunResults:
    return made_run("close", items=200)


def tables(text: str) -> list[list[str]]:
    """Lines of every table."""
    blocks = text.split("\n\n")
    return [block.splitlines() for block in blocks if block.startswith("| ")]


def test_tables_have_as_many_cells_in_every_row(run: RunResults) -> None:
    assert run.decision is not None
    assert run.baseline is not None
    assert run.envelope is not None
    texts = [
        gate_markdown(run.decision, run.plan), baseline_markdown(run.baseline, run.plan), envelope_markdown(run.envelope),
        summary_markdown(run),
    ]  # fmt: skip
    for text in texts:
        assert tables(text)
        for table in tables(text):
            assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "close" in texts[0]
    assert "96." in texts[1]


def test_markdown_text_can_not_break_out() -> None:
    assert md("a | b\n# *c* <script> `d`") == "a \\| b \\# \\*c\\* \\<script\\> \\`d\\`"


def test_the_card_has_a_header_that_hubs_read(tmp_path: Path) -> None:
    contents = made_package(tmp_path / "run")
    plan = contents.plan.model_copy(update={"owners": contents.plan.owners.model_copy(update={"ml_engineer": "a: [b"})})
    _, header, body = render_card(replace(contents, plan=plan)).split("---\n", 2)
    read = yaml.safe_load(header)
    assert read["base_model_relation"] == "quantized"
    assert read["base_model"] == "model"
    assert read["quantized_by"] == "a: [b"
    assert "Q4_K_M" in read["tags"]
    assert contents.artifact.sha256 in body
    for one in contents.decision.slices:
        assert f"| {one.verdict} |" in body


def test_hubs_read_the_card_and_its_results(tmp_path: Path) -> None:
    contents = made_package(tmp_path / "run")
    card = ModelCard(render_card(contents), ignore_metadata_errors=False)
    assert card.data.to_dict()["base_model_relation"] == "quantized"
    assert (card.data.pipeline_tag, card.data.library_name) == ("text-generation", contents.artifact.format)
    told = {(one.dataset_config, one.metric_name): one.metric_value for one in card.data.eval_results or ()}
    scores = [one for one in contents.decision.slices if one.metric == "score"]
    assert scores
    assert told == {
        (one.slice, name): round(value, 2)
        for one in scores
        for name, value in (("quantized", one.candidate), ("full precision", one.baseline))
    }


def test_the_readme_shows_how_to_verify_and_use(tmp_path: Path) -> None:
    text = render_readme(made_package(tmp_path / "run"))
    assert "quantplay verify ." in text
    assert "artifact/support-desk-Q4_K_M.gguf" in text
    assert "ada@example.com" in text


def test_every_chart_is_one_self_contained_image(run: RunResults) -> None:
    charts = all_charts(run)
    assert list(charts) == ["quality", "divergence", "speed", "memory"]
    for chart in charts.values():
        image = chart.image()
        root = ElementTree.fromstring(image)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "href" not in image
        assert base64.b64decode(chart.data_url().partition(",")[2]).decode() == image


def test_a_bar_stays_inside_its_track(run: RunResults) -> None:
    assert run.decision is not None
    for verdict in run.decision.slices:
        extreme = verdict.model_copy(update={"drop": 60.0, "interval_low": -80.0, "interval_high": 95.0, "upper": 99.0})
        for one in (verdict, extreme):
            bar = ElementTree.fromstring(str(tolerance_bar(one, tolerance_scale([one]))))
            for element in bar.iter():
                for name in ("x", "x1", "x2", "cx"):
                    value = element.get(name)
                    assert value is None or 0 <= float(value.rstrip("%")) <= 100


@given(count=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_bounds_are_where_the_score_test_just_rejects(count: int, share: float) -> None:
    """By definition: |share - bound| = z sqrt(bound (1 - bound) / count), unless the bound is cut off at 0 or 1."""
    for bound in wilson(share, count):
        assert 0 <= bound <= 1
        if 1e-9 < bound < 1 - 1e-9:
            distance = Z95 * math.sqrt(bound * (1 - bound) / count)
            assert abs(share - bound) == pytest.approx(distance, abs=1e-9)


@pytest.mark.parametrize("high", [0.0031, 0.9, 1.0, 7.3, 12.0, 999.0])
def test_ticks_are_few_and_within(high: float) -> None:
    ticks = nice_ticks(high)
    assert 3 <= len(ticks) <= 7
    assert ticks[0] == 0
    assert ticks[-1] <= high
