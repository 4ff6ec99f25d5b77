"""What a package says about itself reaches no terminal as a command: escapes and markup come out as plain text."""

from __future__ import annotations

import io

from quantplay.cli.replay import replay_parts
from quantplay.errors import Fault
from quantplay.handoff.apart import harmless
from quantplay.handoff.replay import ReplayReport
from quantplay.handoff.stack import StackDifference
from quantplay.handoff.verify import VerifyReport

EVIL = "0.1.0\x1b[2J\x1b]0;x\x07\r[bold]\u202eabc"


def test_every_sentence_of_a_verification_is_printable() -> None:
    long = "x" * 900
    report = harmless(VerifyReport(
        path="package", problems=(Fault(where=EVIL, what=EVIL),), checked=(f"approve by {EVIL}", long),
        not_proven=(f"they were written by quantplay {EVIL}",), run=EVIL,
    ))  # fmt: skip
    said = [report.run, *report.checked, *report.not_proven, *map(str, report.problems)]
    assert all(text is not None and text.isprintable() for text in said), said
    assert report.checked[1] == long


def test_every_cell_of_a_replay_is_printable() -> None:
    from rich.console import Console

    report = ReplayReport(
        path="package", run=EVIL, type=EVIL, recorded="a" * 64, made="b" * 64, size_bytes=1, steps=(),
        stack=(StackDifference(name=EVIL, recorded=EVIL, here="0.1.0"),), types=((EVIL, EVIL, "none"),), files=None, out=None,
    )  # fmt: skip
    screen = io.StringIO()
    console = Console(file=screen, width=200)
    for part in replay_parts(report):
        console.print(part)
    shown = screen.getvalue()
    assert shown.replace("\n", "").isprintable(), shown
    assert "[bold]" in shown
    assert "\\x1b[2J" in shown
