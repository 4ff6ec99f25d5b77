"""`quantplay registry funnel`: at which play models leave the playbook, and with what outcome."""

from __future__ import annotations

import json as json_library
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from quantplay.plays.funnel import FunnelRow


def command(json: bool = False) -> int:
    from quantplay.plays.funnel import Passage, funnel
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        found = store.passages()
    rows = funnel([
        Passage(run=str(one.run), model=one.model, plays=one.plays, left_at=one.left_at, outcome=one.outcome)  # type: ignore[arg-type]
        for one in found
    ])  # fmt: skip
    if json:
        print(json_library.dumps({"funnel": [row.body() for row in rows]}, indent=2))
    else:
        from quantplay.cli.console import console

        console().print(funnel_table(rows) if found else "No run yet. `quantplay run PLAN` makes one.")
    return 0


def funnel_table(rows: Sequence[FunnelRow]) -> RenderableType:
    """Plays down the side. A model counts once, by its newest run that left."""
    from quantplay.cli.render import table_of

    columns = [
        ("plays", "left"),
        ("", "text"),
        ("runs entered", "right"),
        ("models", "right"),
        ("runs left with", "text"),
    ]
    columns += [("models left with", "text"), ("not left", "right")]
    return table_of("Where models leave the playbook", columns, (
        [
            row.plays, row.name, str(row.runs_entered), str(row.models_entered), counted(row.runs_left),
            counted(row.models_left), str(row.runs_under_way or ""),
        ]
        for row in rows
    ))  # fmt: skip


def counted(outcomes: dict[str, int]) -> str:
    """`close 2, locked 3`."""
    from quantplay.outcomes import OUTCOMES

    return ", ".join(
        f"{OUTCOMES[name].title if name in OUTCOMES else name} {count}" for name, count in outcomes.items()
    )
