"""`quantplay registry alias NAME PACKAGE --reason TEXT`: names for locked packages, and everything a name ever stood for."""

from __future__ import annotations

import getpass
import json as json_library
from dataclasses import asdict
from typing import TYPE_CHECKING

from quantplay.errors import InputError

if TYPE_CHECKING:
    from quantplay.store.aliases import Alias


def command(
    name: str | None = None, package: str | None = None, reason: str | None = None, list_all: bool = False, json: bool = False
) -> int:  # fmt: skip
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    if package is not None and (list_all or name is None):
        raise InputError(
            "--list shows names and sets none", value=package, allowed="NAME PACKAGE --reason TEXT, or --list"
        )
    if package is not None and not (reason or "").strip():
        raise InputError("naming a package needs a reason", value=name, fix="add --reason TEXT; it is kept with it")
    with open_store(settings()) as store:
        if package is not None and name is not None:
            store.set_alias(name, store.package_named(package).key, actor=getpass.getuser(), reason=str(reason))
        found = store.alias_history(name)
    if name is not None and not found:
        raise InputError("nothing has this name", value=name, fix="`quantplay registry alias --list` lists the names")
    newest = current(found)
    if json:
        bodies = [{**asdict(one), "at": one.at.isoformat(), "current": one in newest} for one in found]
        print(json_library.dumps({"aliases": bodies}, indent=2))
    else:
        show(found if name is not None else newest, newest)
    return 0


def current(found: tuple[Alias, ...]) -> tuple[Alias, ...]:
    """What each name stands for now, by name."""
    by_name: dict[str, Alias] = {}
    for one in found:
        there = by_name.get(one.name)
        if there is None or there.version < one.version:
            by_name[one.name] = one
    return tuple(by_name[name] for name in sorted(by_name))


def show(found: tuple[Alias, ...], newest: tuple[Alias, ...]) -> None:
    from rich.text import Text

    from quantplay.cli.console import console
    from quantplay.cli.render import table_of

    if not found:
        console().print("No package has a name yet. `quantplay registry alias NAME PACKAGE --reason TEXT` gives one.")
        return
    columns = [("name", "text"), ("package", "left"), ("since", "left"), ("by", "left"), ("reason", "text")]
    console().print(table_of("Names of packages", columns, (
        [
            Text(one.name, style="" if one in newest else "dim"), one.package[:12], f"{one.at.astimezone():%Y-%m-%d %H:%M}",
            one.actor, Text(one.reason),
        ]
        for one in found
    )))  # fmt: skip
