"""Faults and errors for people: what is wrong, and hanging below it what was found, what is allowed and the fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from quantplay.errors import Fault, InputError, QuantplayError, shorten

SHOWN = 60  # faults; `--json` has all
LONGEST = 400  # characters of one value


def faults_view(faults: Sequence[Fault], title: str, style: str) -> Iterator[RenderableType]:
    yield Text(title, style=f"bold {style}")
    for fault in faults[:SHOWN]:
        yield ""
        yield Text(fault.where, style="bold")
        yield Padding(Text(fault.what), (0, 0, 0, 2))
        details = [("found", fault.value), ("allowed", fault.allowed), ("fix", fault.fix)]
        if any(value is not None for _, value in details):
            yield Padding(details_grid(details), (0, 0, 0, 4))
    if len(faults) > SHOWN:
        yield Text(f"\nand {len(faults) - SHOWN} more; `--json` lists all")


def details_grid(details: Sequence[tuple[str, str | None]]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in details:
        if value is not None:
            grid.add_row(f"{label}:", Text(shorten(value, LONGEST)))
    return grid


def error_view(error: QuantplayError) -> Iterator[RenderableType]:
    """The inside of an error's panel."""
    yield Text(error.what)
    value = None if error.value is None else str(error.value)
    details = [("found", value), ("allowed", error.allowed), ("do this", error.fix)]
    if any(text is not None for _, text in details):
        yield details_grid(details)
    faults = error.faults if isinstance(error, InputError) else ()
    if faults:
        yield ""
        yield from faults_view(faults, "1 fault" if len(faults) == 1 else f"{len(faults)} faults", "red")
