"""Tables and panels from real records: everything that matters is there at 80 and at 200 columns, nothing is cut off."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from factories import made_run
from rich.console import Console, RenderableType

from quantplay.cli import console as consoles
from quantplay.cli.render import decision_view, outcome_panel, signed
from quantplay.cli.render_runs import duration, run_view, runs_table
from quantplay.cli.run_records import RunRecords
from quantplay.outcomes import OUTCOMES
from quantplay.store.runs import Run, RunPlay

VERDICTS = ("pass", "close", "broken", "inconclusive")


def drawn(view: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True, highlight=False).print(view)
    return out.getvalue()


def made_records(verdict: str) -> RunRecords:
    results = made_run(verdict)
    assert results.artifact is not None
    assert results.decision is not None
    assert results.evaluation is not None
    start = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
    plays = [
        RunPlay(
            play=name, key=name[0] * 64, reused=name == "baseline", started_at=start, seconds=number * 40.0, attempt=1
        )
        for number, name in enumerate(("baseline", "envelope", "ptq", "evaluate", "gate"))
    ]
    outcome = {"pass": "locked"}.get(verdict, verdict)
    run = Run(
        id=uuid4(), plan="1" * 64, profile="internal", state="finished", outcome=outcome,
        exit_code=OUTCOMES[outcome].exit_code, started_at=start, finished_at=start + timedelta(seconds=200),
        prefect_flow_run_id=None, package=None, plays=tuple(plays),
    )  # fmt: skip
    return RunRecords(
        run=run, plan=results.plan, baseline=results.baseline, envelope=results.envelope, artifacts=(results.artifact,),
        evaluations=(results.evaluation,), decisions=(results.decision,), package=None,
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_gate_table_holds_every_slice_number_and_reason(verdict: str, width: int) -> None:
    decision = made_run(verdict).decision
    assert decision is not None
    text = drawn(decision_view(decision, width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    lines = text.splitlines()
    for row in decision.slices:
        name = row.slice if row.metric == "score" else f"{row.slice} loss"
        (line,) = [line for line in lines if re.match(rf" *{name} +[0-9]", line)]
        assert line.rstrip().endswith(f" {row.verdict}")
        digits = 1 if row.metric == "score" else 3
        for number in (
            f"{row.baseline:.{digits}f}",
            f"{row.candidate:.{digits}f}",
            signed(row.drop, digits),
            f"{row.max_drop:g}",
        ):
            assert number in line
    words = " ".join(text.split())
    for reason in decision.reasons:
        assert " ".join(reason.split()) in words
    assert f"Verdict: {decision.verdict}" in text


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_whole_run(verdict: str, width: int) -> None:
    records = made_records(verdict)
    text = drawn(run_view(records, width, "http://127.0.0.1:4200/runs/x"), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for part in ("baseline", "reused", "2 min 00 s", records.artifacts[0].file_name, "http://127.0.0.1:4200/runs/x"):
        assert part in text
    outcome = OUTCOMES[records.run.outcome or ""]
    assert f"{outcome.title} (exit code {outcome.exit_code})" in text


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_of_runs(width: int) -> None:
    runs = [made_records(verdict).run for verdict in VERDICTS]
    text = drawn(runs_table(runs, [f"pilot-{verdict}" for verdict in VERDICTS], width), width)
    for run, verdict in zip(runs, VERDICTS, strict=True):
        (line,) = [line for line in text.splitlines() if str(run.id)[:8] in line]
        assert f"pilot-{verdict}" in line
        assert OUTCOMES[run.outcome or ""].title in line
        assert "3 min 20 s" in line


def test_the_json_of_a_run_leaves_single_items_out() -> None:
    body = made_records("close").body()
    assert body["outcome"] == "close"
    assert body["decisions"][0]["verdict"] == "close"
    assert "items" not in body


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_outcome_has_a_panel(name: str) -> None:
    text = drawn(outcome_panel(name, reasons=["because"], next_play="the next play"), 80)
    assert f"exit code {OUTCOMES[name].exit_code}" in text
    assert "because" in text
    assert ("the next play" in text) == (not OUTCOMES[name].good)


def test_numbers_for_people() -> None:
    assert [signed(value) for value in (1.25, -0.04, 0.0, -3.0)] == ["+1.2", "0.0", "0.0", "-3.0"]
    assert [duration(seconds) for seconds in (0.04, 59.9, 61, 3600, 7325)] == [
        "0.0 s",
        "59.9 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 02 min",
    ]


def test_where_no_bar_can_be_drawn_a_line_says_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(consoles.time, "monotonic", lambda: clock[0])
    out = io.StringIO()
    with consoles.RunView(consoles.console_for(out)) as view:
        for done in range(101):
            clock[0] += 1.0
            view.progress("baseline", done, 100, "items answered")
    lines = out.getvalue().splitlines()
    assert lines == [f"baseline     {done} of 100: items answered" for done in (29, 59, 89)]
