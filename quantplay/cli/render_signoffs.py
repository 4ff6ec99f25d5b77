"""Signatures as people see them: who signed what and when, what is missing, and what to look at before signing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from quantplay.cli.render import table_of
from quantplay.cli.run_records import RunRecords
from quantplay.records import SignOff
from quantplay.settings import settings

REVOKED = "The baseline of this run was revoked, so it can't be locked"
OVER = {"gate": "the decision above", "training": "the business case of the plan", "lock": "the package below"}
STYLES = {"approve": "green", "reject": "red", "rework": "red"}


def signoff_parts(records: RunRecords) -> Iterator[RenderableType]:
    """Signatures of the run, those about the same decision under other runs, and what the next one is over."""
    if records.signoffs:
        yield signoffs_table("Signatures", records.signoffs)
    if records.elsewhere:
        yield signoffs_table("About the same decision, under other runs", records.elsewhere, runs=True)
    if records.stage is not None and records.awaiting is not None:
        waits = records.awaiting
        for one in records.stage.void:
            yield Text(f"Does not count: {one.signoff.verdict} by {one.signoff.person}: {one.why}", style="yellow")
        over = OVER[waits.stage]
        missing = " and ".join(records.stage.missing)
        left = f"{missing} still to sign {over}." if missing else f"every signature under {over} is there."
        yield Text.assemble((f"Stage {waits.stage}: ", "bold"), left)
        if records.revoked is not None:
            yield Text(f"{REVOKED}: {records.revoked}", style="red")
        yield from where_it_waits(records)
        report = settings().home / "reports" / waits.run / "report.html"
        if report.is_file():
            yield Text.assemble(("  report           ", "bold"), str(report))
        if waits.stage == "lock" and records.package is not None:
            yield Text.assemble(("  unsigned package ", "bold"), records.package.path)
            yield Text.assemble(("  its manifest     ", "bold"), records.package.manifest)
        yield ""


def where_it_waits(records: RunRecords) -> Iterator[RenderableType]:
    """Since when, and the form of a suspended run."""
    waiting = records.waiting
    if waiting is None:
        return
    reminded = f", {len(waiting.reminded)} reminder(s)" if waiting.reminded else ""
    yield Text.assemble(("  asked            ", "bold"), f"{waiting.asked_at:%Y-%m-%d %H:%M} UTC{reminded}")
    if waiting.expired_at is not None:
        again = "signing, or `quantplay run` with its plan, asks again"
        yield Text(f"  expired          {waiting.expired_at:%Y-%m-%d %H:%M} UTC; {again}", style="yellow")
    elif waiting.request is not None and waiting.request.page is not None:
        yield Text.assemble(("  form             ", "bold"), f"{waiting.request.page}, behind Resume")


def signoffs_table(title: str, signoffs: Sequence[SignOff], *, runs: bool = False) -> RenderableType:
    columns = [
        ("stage", "left"),
        ("role", "left"),
        ("verdict", "left"),
        ("person", "text"),
        ("when, UTC", "left"),
        ("comment", "text"),
    ]
    columns = [("run", "left"), *columns] if runs else columns
    rows = []
    for one in signoffs:
        when = one.recorded_at.replace("T", " ").removesuffix("Z")[:16]
        row: list[RenderableType] = [
            one.stage,
            one.role,
            Text(one.verdict, style=STYLES[one.verdict]),
            one.person if one.login is None else f"{one.person}, {one.identified}",
            when,
            one.comment,
        ]
        rows.append([one.run[:8], *row] if runs else row)
    return table_of(title, columns, rows)
