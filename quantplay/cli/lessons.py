"""`quantplay registry lessons`: what incidents taught, where it was folded in, and who sees regressions first."""

from __future__ import annotations

import json as json_library
from typing import TYPE_CHECKING, Any

from quantplay.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from quantplay.plays.regressions import Seen
    from quantplay.store.incidents import Learned


def command(
    text: str | None = None, kind: str | None = None, model: str | None = None, folded_into: str | None = None, json: bool = False
) -> int:  # fmt: skip
    from quantplay.plays.regressions import counted, regressions_of
    from quantplay.settings import settings
    from quantplay.store.incidents import FOLDED_INTO
    from quantplay.store.registry import open_store

    if folded_into is not None and folded_into not in FOLDED_INTO:
        raise InputError("lessons are folded into none of that", value=folded_into, allowed=", ".join(FOLDED_INTO))
    with open_store(settings()) as store:
        found = store.lessons(text=text or "", kind=kind or "", model=model or "", folded_into=folded_into or "")
        regressions = regressions_of(store)
    counts = counted(regressions)
    if json:
        body = {"lessons": [body_of(one) for one in found], "regressions": {"seen_first": counts, "all": [
            {**vars(one), "at": one.at.isoformat()} for one in regressions
        ]}}  # fmt: skip
        print(json_library.dumps(body, indent=2))
        return 0
    from quantplay.cli.console import console

    asked = any((text, kind, model, folded_into))
    console().print(lessons_table(found) if found else f"No lesson {'like this ' if asked else ''}so far.")
    if not asked:
        console().print(words_of(counts))
    return 0


def body_of(one: Learned) -> dict[str, Any]:
    from quantplay.cli.incidents import body_of as body_of_incident

    return {
        **body_of_incident(one.incident),
        "package": one.package,
        "name": one.name,
        "model": one.source,
        "base": one.base,
    }


def lessons_table(found: Sequence[Learned]) -> RenderableType:
    from rich.text import Text

    from quantplay.cli.incidents import folded
    from quantplay.cli.render import table_of

    columns = [("learned", "left"), ("from", "text"), ("lesson", "text"), ("folded into", "text")]
    rows = [
        [
            f"{one.incident.closed_at.astimezone():%Y-%m-%d}" if one.incident.closed_at else "",
            Text(f"{one.name or one.package[:12]}, {one.incident.kind} {str(one.incident.id)[:8]}"),
            Text(one.incident.lesson or ""), Text(folded(one.incident)),
        ]
        for one in found
    ]  # fmt: skip
    return table_of("Lessons, newest first", columns, rows)


def words_of(counts: Mapping[Seen, int]) -> str:
    return (
        f"Regressions: {counts['gate']} caught at the gate, {counts['revalidation']} by re-validation before anybody was served, "
        f"{counts['production']} escaped to production."
    )
