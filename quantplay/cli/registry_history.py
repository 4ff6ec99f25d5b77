"""`quantplay registry history MODEL`: every run and package of a model in time, and what took whose place."""

from __future__ import annotations

import json as json_library
from dataclasses import asdict
from typing import TYPE_CHECKING

from quantplay.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.store.model_history import Moment


def command(model: str, json: bool = False) -> int:
    from quantplay.cli.console import console
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        found = store.model_history(model)
    if not found:
        raise InputError(
            "nothing is recorded of this model", value=model,
            allowed="a plan's name, a model's source as its plan writes it, or six characters of its digest",
            fix="`quantplay registry list` and `quantplay show` show what there is",
        )  # fmt: skip
    if json:
        print(json_library.dumps({"history": [{**asdict(one), "at": one.at.isoformat()} for one in found]}, indent=2))
    else:
        console().print(history_table(model, found))
    return 0


def history_table(model: str, found: tuple[Moment, ...]) -> RenderableType:
    from rich.text import Text

    from quantplay.cli.render import table_of

    columns = [("when", "left"), ("what", "left"), ("name", "text"), ("package", "left"), ("replaces", "left")]
    columns += [("how", "text"), ("by", "left")]
    return table_of(f"What happened to {model}, oldest first", columns, (
        [
            f"{one.at.astimezone():%Y-%m-%d %H:%M}", f"run {one.run[:8]}" if one.run else one.what, Text(one.name),
            (one.package or "")[:12], (one.replaces or "")[:12], Text(one.state), one.by or "",
        ]
        for one in found
    ))  # fmt: skip
