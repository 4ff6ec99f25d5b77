"""An audit for people: sections of answers, mistakes, and the ranking of `--backward`; readable at 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from quantplay.audit import SECTIONS, Answer, Audit, Evidence, Mistake
from quantplay.audit.backward import Cause

STYLES = {"yes": "green", "no": "red", "waived": "yellow", "unknown": "cyan"}
SHORT = 12


def audit_parts(found: Audit) -> Iterator[RenderableType]:
    yield heading(found)
    for section in SECTIONS:
        lines = [one for one in found.answers if one.section == section]
        if lines:
            yield section_view(section, lines)
    for mistake in found.mistakes:
        yield mistake_view(mistake)
    yield summary(found)


def heading(found: Audit) -> Text:
    text = Text(f"Audit of {found.kind} ", style="bold").append(found.subject[:36])
    return text.append(f"  {found.name or 'no plan on record'}, profile {found.profile or 'unknown'}", style="dim")


def section_view(section: str, lines: Sequence[Answer]) -> Group:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, width=7)
    table.add_column(overflow="fold")
    for one in lines:
        table.add_row(Text(one.answer, style=STYLES[one.answer]), answer_text(one))
    return Group(Text(f"\n{section[:1].upper()}{section[1:]}", style="bold"), table)


def answer_text(one: Answer) -> Text:
    text = Text(one.question).append(f"  {one.owner}", style="dim")
    if one.mistake is None or one.answer in ("yes", "unknown"):
        text.append(f"\n{one.why}", style="dim")
    if one.evidence and one.answer != "unknown" and (one.mistake is None or one.answer == "yes"):
        text.append(f" [{evidence_words(one.evidence)}]", style="dim")
    if one.reason and one.reason != one.why:
        text.append(f"\naccepted: {one.reason}", style="yellow")
    if one.fix and one.answer in ("no", "unknown") and one.mistake is None:
        text.append(f"\ndo this: {one.fix}", style="dim")
    return text


def evidence_words(evidence: Sequence[Evidence], most: int = 3) -> str:
    told = dict.fromkeys(f"{one.record} {(one.key or '')[:SHORT]}".strip() for one in evidence)
    return ", ".join(list(told)[:most]) + (f" and {len(told) - most} more" if len(told) > most else "")


def mistake_view(mistake: Mistake) -> Panel:
    text = Text(mistake.why)
    for one in mistake.evidence:
        text.append(f"\n{evidence_words([one])}: {one.said}", style="dim")
    if mistake.reason:
        text.append(f"\nAccepted: {mistake.reason}", style="yellow")
    text.append("\nDo this: ", style="bold").append(mistake.fix)
    style = "yellow" if mistake.waived else "red"
    title = f"{mistake.name.replace('_', ' ')}{' (waived)' if mistake.waived else ''}, {mistake.owner}"
    return Panel(text, title=title, title_align="left", border_style=style)


def summary(found: Audit) -> Text:
    counts = Counter(one.answer for one in found.answers)
    text = Text("\n")
    for said, style in STYLES.items():
        text.append(f"{counts[said]} {said}  ", style=style)
    waived = len(found.mistakes) - len(found.open)
    if not found.mistakes:
        return text.append("None of the seven mistakes shows.")
    return text.append(
        f"{len(found.open)} of the seven mistakes open" + (f", {waived} accepted with a reason." if waived else ".")
    )


def lessons_text(found: Audit) -> Text:
    """What went wrong with this model before may be what goes wrong again."""
    text = Text("What incidents of this model have taught:", style="bold")
    for one in found.lessons:
        text.append(f"\n{one.at[:10]}  {one.text}", style="not bold")
        text.append(
            f"\n   {one.what} Folded into {one.folded_into.replace('_', ' ')}: {one.where}.",
            style="dim not bold",
        )
    return text.append("\n")


def backward_parts(found: Audit, causes: Sequence[Cause]) -> Iterator[RenderableType]:
    yield heading(found)
    if found.lessons:
        yield lessons_text(found)
    if not causes:
        yield Text(
            "Every line that could explain a loss holds. Ask the users for examples, and add them to the evaluation set."
        )
        return
    yield Text(
        "What may be behind it, by what was skipped, waived or is not on record. The order is judgement.\n", style="dim"
    )
    for rank, cause in enumerate(causes, 1):
        one = cause.answer
        text = Text(f"{rank}. ", style="bold").append(one.question + " ").append(one.answer, style=STYLES[one.answer])
        body = Text(f"Then {cause.explains}.\n{one.why}")
        if one.reason and one.reason != one.why:
            body.append(f"\nAccepted: {one.reason}", style="yellow")
        if one.evidence:
            body.append(f" [{evidence_words(one.evidence)}]", style="dim")
        body.append(f"\nWeight {cause.score:g} of 10. ", style="dim").append(
            f"Do this: {cause.first}" if cause.first else ""
        )
        yield text
        yield Padding(body, (0, 0, 0, 3))
