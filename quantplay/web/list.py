"""The models that somebody looks for, a page at a time, newest first.

A page ends with a key and the next begins after it, so nothing is shown twice or left out while new packages are locked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from quantplay.plays.catalogue import Listed, stood
from quantplay.plays.unvalidated import UNVALIDATED, wanted_imports
from quantplay.store.registry import Store
from quantplay.store.registry_imports import Imported
from quantplay.web.asked import Asked

PAGE = 50
AT_ONCE = 150  # that are read where how they stand decides, which is known only then


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of the packages."""

    shown: tuple[Listed, ...]
    after: str | None  # where the next page begins; None where this is the last


def page_of(store: Store, asked: Asked, now: datetime, size: int = PAGE) -> Page:
    """How a package stands is told as it was measured last, on the machine where that was: this one may serve pages only."""
    if asked.state == UNVALIDATED:  # no package is
        return Page(shown=(), after=None)
    found: list[Listed] = []
    wanted = replace(asked.wanted, limit=size + 1 if asked.state is None else AT_ONCE)
    if asked.state == "regressed":  # no other can have regressed
        wanted = replace(wanted, measured="regressed")
    while len(found) <= size:
        entries = store.find_packages(wanted)
        found += [one for one in stood(entries, None, now) if asked.state in (None, one.standing.status)]
        if asked.state is None or len(entries) < AT_ONCE:
            break
        wanted = replace(wanted, after=entries[-1].key)
    return Page(shown=tuple(found[:size]), after=found[size - 1].entry.key if len(found) > size else None)


def imports_beside(store: Store, asked: Asked) -> tuple[Imported, ...]:
    """What was quantized elsewhere and nobody measured, beside the first page of packages."""
    if "after" in asked.given:
        return ()
    given = {name: getattr(asked.wanted, name) for name in asked.given if name != "state"}
    return wanted_imports(store.list_imports(), given, asked.state)
