"""The terminal: one console for results, one for messages, and a listener that shows a run while it goes on."""

from __future__ import annotations

import sys
import time
from functools import cache
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PIPED_WIDTH = 120  # a pipe has no width of its own
LINE_SECONDS = 30.0  # where no bar can be drawn, a line so often says how far it is


def console_for(stream: IO[str]) -> Console:
    """Colours and the terminal's width on a terminal; plain text of a fixed width elsewhere."""
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, no_color=True, width=PIPED_WIDTH, force_terminal=False)


@cache
def console() -> Console:
    """Standard output: what was asked for."""
    return console_for(sys.stdout)


@cache
def errors_console() -> Console:
    """Standard error: progress, warnings and errors, so that standard output can be piped."""
    return console_for(sys.stderr)


class RunView:
    """Shows plays as they start and end, with a bar while one counts. Follows the flows' listener protocol."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self.bars = Progress(
            TextColumn("  {task.description}"), BarColumn(bar_width=28), TextColumn("{task.completed:g}/{task.total:g}"),
            TimeElapsedColumn(), console=out, transient=True, disable=not out.is_terminal,
        )  # fmt: skip
        self.shown: dict[tuple[str, str], TaskID] = {}
        self.told = time.monotonic()

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.out.print(f"[dim]{escape(text)}[/]")

    def play(self, name: str, state: str) -> None:
        """A play started, ended, was found done, or waits."""
        marks = {"done": "[green]done[/]", "reused": "[cyan]reused[/]", "started": "started"}
        if state in ("done", "reused"):
            for key in [key for key in self.shown if key[0] == name]:
                self.bars.remove_task(self.shown.pop(key))
        self.out.print(f"{name:<12} {marks.get(state, escape(state))}")

    def progress(self, name: str, done: int, total: int, text: str) -> None:
        """`done` of `total` of what `text` says."""
        key = (name, text)
        if key not in self.shown:
            self.shown[key] = self.bars.add_task(f"{name}: {text}", total=max(total, 1))
        self.bars.update(self.shown[key], completed=done, total=max(total, 1))
        if not self.out.is_terminal and time.monotonic() - self.told >= LINE_SECONDS:
            self.told = time.monotonic()
            self.out.print(f"{name:<12} {done:g} of {total:g}: {escape(text)}")

    def report(self, name: str) -> Any:
        """The progress callback of `quantplay.process.run` for a job called `name`."""
        return lambda done, total, text: self.progress(name, done, total, text)
