"""`quantplay events`: who did what when, from the chain."""

from __future__ import annotations

import json as json_library
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from quantplay.store.events import Event
    from quantplay.store.registry import Store

SHORT = 80  # characters of a body in the table


def command(about: str = "", kind: str = "", actor: str = "", limit: int = 50, json: bool = False) -> int:
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    with open_store(settings()) as store:
        found = store.events(subjects=sorted(subjects_of(store, about))) if about else store.events()
    told = [one for one in found if kind in one.kind and actor in one.actor][-limit:]
    if json:
        print(json_library.dumps({"events": [body_of(one) for one in told]}, indent=2))
    elif told:
        from quantplay.cli.console import console

        console().print(table(told, len(found)))
    else:
        print("No such event.")
    return 0


def subjects_of(store: Store, about: str) -> set[str]:
    """What events of a run, package or endpoint are about; of anything else, events about exactly that."""
    from quantplay.audit.find import find, matching

    if not matching(store, about):
        return {about}
    sort, name = find(store, about)
    if sort == "endpoint":
        return {name}
    package = store.package_named(name) if sort == "package" else None
    run = store.get_run(package.run if package is not None else name)
    named = {package.key, *package.aliases} if package is not None else set[str]()
    return named | ({str(run.id), *(play.key for play in run.plays)} if run is not None else set())


def body_of(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq, "at": event.at.isoformat(), "actor": event.actor, "kind": event.kind, "subject": event.subject,
        "body": event.body, "previous": event.previous, "digest": event.digest,
    }  # fmt: skip


def table(told: Sequence[Event], of: int) -> RenderableType:
    from rich.text import Text

    from quantplay.cli.render import table_of

    title = "Who did what when, oldest first" + (
        f" (the newest {len(told):,} of {of:,}; --limit shows more)" if of > len(told) else ""
    )
    columns = [
        ("event", "right"),
        ("when", "left"),
        ("who", "text"),
        ("what", "text"),
        ("about", "text"),
        ("told", "text"),
    ]
    return table_of(title, columns, (
        [
            str(one.seq), f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}", Text(one.actor), Text(one.kind), Text(short(one.subject)),
            Text(cut(", ".join(f"{name} {short(str(value))}" for name, value in one.body.items() if isinstance(value, str | int | float)))),
        ]
        for one in told
    ))  # fmt: skip


def short(text: str) -> str:
    """Digests and run ids by their first characters."""
    return text[:12] if re.fullmatch(r"[0-9a-f-]{32,64}", text) else text


def cut(text: str) -> str:
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"
