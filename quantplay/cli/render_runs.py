"""Runs as people see them: the table of all, and one with its plays, records and outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from quantplay.cli.render import (
    OUTCOME_STYLES,
    WIDE,
    artifact_line,
    baseline_table,
    candidates_table,
    decision_view,
    outcome_panel,
    table_of,
)
from quantplay.cli.render_calibration import calibration_view
from quantplay.cli.render_further import mix_table, sensitivity_table, training_line
from quantplay.cli.render_jobs import device_line
from quantplay.cli.render_plan import predicted_parts
from quantplay.cli.render_signoffs import signoff_parts
from quantplay.cli.run_records import RunRecords, shown_records
from quantplay.handoff.asking import training_said
from quantplay.handoff.updates import cells, then_and_now, update_sentence
from quantplay.outcomes import OUTCOMES
from quantplay.plays.funnel import left_words
from quantplay.records import (
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    EnvelopeChoice,
    MixChoice,
    Recommendation,
    Record,
    Sensitivity,
    Training,
)

if TYPE_CHECKING:
    from quantplay.store.runs import Run, RunPlay

SHORT = ("full then", "now", "quantized then", "now", "drop then", "now")
"""Headings of `handoff.updates.cells` where a terminal is narrow."""


STATE_STYLES = {"running": "cyan", "interrupted": "yellow", "cancelled": "yellow"}


def runs_table(runs: Sequence[Run], names: Sequence[str], width: int) -> RenderableType:
    """Newest first; `names` are those of the plans."""
    columns = [("run", "left"), ("plan", "text"), ("outcome", "left"), ("started", "left"), ("took", "right")]
    columns += (
        [("profile", "left"), ("plays", "right"), ("reused", "right"), ("package", "left")] if width >= WIDE else []
    )
    rows = []
    for run, name in zip(runs, names, strict=True):
        cells: list[RenderableType] = [str(run.id)[:8], name, outcome_text(run), local(run.started_at), took(run)]
        if width >= WIDE:
            reused = sum(play.reused for play in run.plays)
            cells += [run.profile, str(len(run.plays)), str(reused), "yes" if run.package else ""]
        rows.append(cells)
    return table_of("Runs, newest first", columns, rows)


def outcome_text(run: Run) -> Text:
    if run.outcome in OUTCOMES:
        return Text(OUTCOMES[run.outcome].title, style=OUTCOME_STYLES.get(run.outcome, "red"))
    return Text(run.state, style=STATE_STYLES.get(run.state, "red"))


def local(moment: datetime) -> str:
    """In the reader's time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def took(run: Run) -> str:
    return duration((run.finished_at - run.started_at).total_seconds()) if run.finished_at else ""


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def run_view(records: RunRecords, width: int, page: str | None = None) -> Group:
    return Group(*run_parts(records, width, page))


def run_parts(records: RunRecords, width: int, page: str | None) -> Iterator[RenderableType]:
    run = records.run
    name = records.plan.name if records.plan else run.plan[:12]
    yield Text.assemble(
        ("Run ", "bold"), str(run.id), ("  plan ", "bold"), name, ("  profile ", "bold"), run.profile,
        ("  started ", "bold"), local(run.started_at),
    )  # fmt: skip
    yield plays_table(run.plays)
    if line := device_line(records.jobs, duration):
        yield Text(line)
    for record in shown_records(records):
        yield record_view(record, width)
        yield ""
    if records.envelope is not None and records.envelope.wrong_moves:
        yield Text("Quantizing would be the wrong move here", style="bold yellow")
        yield from (Text(sentence) for sentence in records.envelope.wrong_moves)
    yield from predicted_parts(records.plan, records.envelope, records.artifacts, records.evaluations)
    yield from update_parts(records)
    yield from ending_parts(records, page)


def update_parts(records: RunRecords) -> Iterator[RenderableType]:
    """An update beside the run it updates; and the runs that update this one."""
    if records.update is not None:
        yield Text(update_sentence(records.update, records.artifacts[-1].type if records.artifacts else None))
        if records.envelope is not None:
            yield Text(records.envelope.reasons[0])
        if records.decisions and records.plan is not None:
            columns = [("slice", "text"), *((name, "right") for name in SHORT)]
            rows = then_and_now(records.update, records.decisions[-1], records.plan)
            yield table_of("Then and now", columns, (
                [row.slice if row.metric == "score" else f"{row.slice} loss", *cells(row)[1:]] for row in rows
            ))  # fmt: skip
    if records.updated_by:
        yield Text.assemble(("Updated by ", "bold"), ", ".join(run[:8] for run in records.updated_by))


def ending_parts(records: RunRecords, page: str | None) -> Iterator[RenderableType]:
    """Signatures, outcome, and what to type next: all there is to say after a signature."""
    run = records.run
    yield from signoff_parts(records)
    if run.outcome in OUTCOMES:
        last = records.decisions[-1] if records.decisions else None
        signed = run.outcome in ("awaiting_signature", "rejected")  # the gate passed; what comes next is up to people
        # The gate's reasons stand right above; a run that never reached the gate has none.
        stopped = run.outcome in (
            "broken",
            "close",
            "inconclusive",
        )  # recommendations, or the verdict, say more than the play that would be next
        yield outcome_panel(run.outcome, next_play=last.next_play if last and not signed and not stopped else None)
        if run.left_at is not None:
            said = "Passed at " if run.outcome == "locked" else "Left the playbook at "
            yield Text.assemble((said, "bold"), left_words(run.left_at), f", after {looks(records)}.")
        yield from recommended_parts(records.recommendations)
        if run.outcome in ("broken", "close") and (note := training_said(records.signoffs)) is not None:
            yield Text(f"{note}.")
    else:
        yield outcome_text(run)
    yield from commands(records)
    if page is not None:
        yield Text.assemble(("in Prefect: ", "bold"), page)


def looks(records: RunRecords) -> str:
    if not records.decisions:
        return "no look at the gate split"
    last = records.decisions[-1]
    return f"look {last.attempt} of {last.attempts} at the gate split"


def recommended_parts(found: Sequence[Recommendation]) -> Iterator[RenderableType]:
    """What would be viable instead, with the plan lines for it."""
    if found:
        yield Text("What would be viable instead:", style="bold")
    for number, one in enumerate(found, start=1):
        yield Text.assemble(f"{number}. ", (one.what, "bold"), f" {one.why}")
        if one.plan_lines:
            yield Text("\n".join(f"       {line}" for line in one.plan_lines.splitlines()), style="cyan")


def commands(records: RunRecords) -> Iterator[RenderableType]:
    """What to type for each missing signature; nothing else is on its line, so that it can be copied."""
    if records.awaiting is not None and not records.to_sign and records.waiting is not None:
        if records.waiting.request is not None and records.waiting.expired_at is None:
            yield Text("Every signature is there: the run goes on in Prefect.", style="bold")
        else:
            yield Text.assemble(
                ("Signed, and not gone on yet: ", "bold"), f"quantplay run {records.awaiting.plan_path}"
            )
    if records.goes_on is not None:
        yield Text.assemble(("To go on from what is finished: ", "bold"), records.goes_on)
    if records.to_sign:
        yield Text("To sign (--reject and --rework say no; --comment TEXT says why):", style="bold")
        yield from (Text(f"  {line}") for line in records.to_sign)


def plays_table(plays: Sequence[RunPlay]) -> RenderableType:
    columns = [("play", "left"), ("", "left"), ("took", "right"), ("key", "left")]
    return table_of("Plays", columns, (
        [play.play, Text("reused", style="cyan") if play.reused else "done", duration(play.seconds), play.key[:12]]
        for play in plays
    ))  # fmt: skip


def record_view(record: Record, width: int) -> RenderableType:
    if isinstance(record, CalibrationCheck):
        return calibration_view(record)
    if isinstance(record, Baseline):
        return baseline_table(record)
    if isinstance(record, EnvelopeChoice):
        return candidates_table(record, width)
    if isinstance(record, Artifact):
        return artifact_line(record)
    if isinstance(record, Sensitivity):
        return sensitivity_table(record)
    if isinstance(record, MixChoice):
        return mix_table(record)
    if isinstance(record, Training):
        return training_line(record)
    assert isinstance(record, Decision)
    return decision_view(record, width)
