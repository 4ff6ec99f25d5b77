"""`quantplay registry incidents`: what went wrong with locked packages, and closing it with what was learned."""

from __future__ import annotations

import getpass
import json as json_library
from dataclasses import asdict
from typing import TYPE_CHECKING

from quantplay.errors import InputError

if TYPE_CHECKING:
    from quantplay.store.incidents import Incident


def command(
    close: str | None = None, reason: str | None = None, lesson: str | None = None, folded_into: str | None = None,
    where: str | None = None, json: bool = False,
) -> int:  # fmt: skip
    from quantplay.settings import settings
    from quantplay.store.incidents import lesson_of
    from quantplay.store.registry import open_store

    if close is None and any(told is not None for told in (reason, lesson, folded_into, where)):
        raise InputError("nothing is to be closed", value="no --close", fix="say which one: --close ID")
    if close is not None and not (reason or "").strip():
        raise InputError("closing an incident needs a reason", value=close, fix="add --reason TEXT: what ended it")
    learned = lesson_of(lesson, folded_into, where) if close is not None else None
    with open_store(settings()) as store:
        if close is not None and learned is not None:
            store.close_incident(close, by=getpass.getuser(), resolution=str(reason).strip(), lesson=learned)
        found = store.list_incidents()
    if json:
        print(json_library.dumps({"incidents": [body_of(one) for one in found]}, indent=2))
    else:
        show(found)
    return 0


def body_of(one: Incident) -> dict[str, object]:
    values = {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in asdict(one).items()}
    return values | {"id": str(one.id), "open": one.closed_at is None}


def folded(one: Incident) -> str:
    """Where a lesson went, in words."""
    return f"{(one.folded_into or '').replace('_', ' ')}: {one.folded_where}"


def show(found: tuple[Incident, ...]) -> None:
    from rich.text import Text

    from quantplay.cli.console import console
    from quantplay.cli.render import table_of

    if not found:
        console().print("No incident so far.")
        return
    columns = [
        ("incident", "left"),
        ("kind", "left"),
        ("package", "left"),
        ("opened", "left"),
        ("state", "left"),
        ("what", "text"),
    ]
    rows = []
    for one in found:
        what = Text(one.what)
        if one.closed_at is not None:
            what.append(
                f"\nclosed {one.closed_at.astimezone():%Y-%m-%d %H:%M} by {one.closed_by}: {one.resolution}",
                style="dim",
            )
            if one.lesson is not None:
                what.append(f"\nlesson: {one.lesson} ({folded(one)})", style="dim")
        state = Text("open", style="red") if one.closed_at is None else Text("closed", style="green")
        rows.append(
            [str(one.id)[:8], one.kind, one.package[:12], f"{one.opened_at.astimezone():%Y-%m-%d %H:%M}", state, what]
        )
    console().print(table_of("Incidents, open ones first", columns, rows))
