"""`quantplay registry compare PACKAGE PACKAGE...`: locked packages side by side."""

from __future__ import annotations

import json as json_library
from typing import TYPE_CHECKING

from quantplay.errors import InputError
from quantplay.store.catalogue import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from quantplay.plays.catalogue import Listed
    from quantplay.store.registry_imports import Imported

MOST = 8  # side by side


def command(packages: Sequence[str], json: bool = False) -> int:
    from quantplay.cli.packages import body_of, listed
    from quantplay.cli.registry_imports import body_of as of_import
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    here = settings()
    with open_store(here) as store:
        meant = [store.find_import(name) or store.package_named(name).key for name in packages]
        imports = tuple({one.key: one for one in meant if not isinstance(one, str)}.values())
        keys = tuple(dict.fromkeys(one for one in meant if isinstance(one, str)))
        count = len(keys) + len(imports)
        if not 2 <= count <= MOST:
            raise InputError("this many packages can't be compared", value=count, allowed=f"2 to {MOST} different ones")
        # One question for all: they stand against one and the same stack.
        known = {one.entry.key: one for one in listed(store, here.threads, Wanted(keys=keys))} if keys else {}
    found = [known[key] for key in keys]
    notes = different(found, imports)
    if json:
        told = {
            "packages": [body_of(one) for one in found],
            "imports": [of_import(one) for one in imports],
            "not_comparable": notes,
        }
        print(json_library.dumps(told, indent=2))
        return 0
    from quantplay.cli.console import console

    console().print(comparison(found, imports))
    for note in notes:
        console().print(f"[yellow]mind:[/] {note}")
    return 0


def different(found: Sequence[Listed], imports: Sequence[Imported]) -> list[str]:
    """Why the numbers of a row can't be held against each other."""
    from quantplay.plays.catalogue import chips

    notes = []
    if len({one.entry.base for one in found} | {one.told.base for one in imports}) > 1:
        notes.append("they are made from different models; a drop is against the model each was made from")
    if len({chips(one.entry) for one in found}) > 1:
        notes.append("they were measured on different chips; speed and memory are those of each one's own")
    if len({one.entry.runtime for one in found}) > 1:
        notes.append("they run in different runtimes")
    if imports:
        notes.append(
            "what was imported says itself what it is; it has no drops, speed or memory until a run has measured it"
        )
    return notes


def comparison(found: Sequence[Listed], imports: Sequence[Imported]) -> RenderableType:
    """A column a package, then one an imported artifact. Drops against each one's own full precision: positive is worse."""
    from rich.text import Text

    from quantplay.cli.registry_imports import status_of
    from quantplay.cli.registry_show import pair, scaled
    from quantplay.cli.render import mib, signed, table_of
    from quantplay.cli.revalidate import STYLES
    from quantplay.plays.catalogue import chips

    def row(name: str, cells: Sequence[RenderableType], told: Sequence[RenderableType] = ()) -> list[RenderableType]:
        return [Text(name), *cells, *(told or [""] * len(imports))]

    entries = [one.entry for one in found]
    rows = [
        row("plan", [Text(entry.name) for entry in entries], [Text(f"imported: {one.told.name}") for one in imports]),
        row("type", [entry.type or "" for entry in entries], [one.told.type for one in imports]),
        row(
            "bits a weight",
            [f"{entry.bits_per_weight:.2f}" if entry.bits_per_weight else "" for entry in entries],
            [f"{one.told.bits_per_weight:.2f}" for one in imports],
        ),
        row(
            "size",
            [mib(entry.size_bytes) if entry.size_bytes is not None else "" for entry in entries],
            [mib(one.told.size_bytes) for one in imports],
        ),
        row("runs in", [entry.runtime for entry in entries]),
        row("chip", [Text(chips(entry)) for entry in entries]),
        row(
            "time per token",
            [pair(e.time_per_token_ms, e.full_precision_time_per_token_ms, "{:.3g} ms") for e in entries],
        ),
        row(
            "peak memory",
            [
                pair(scaled(e.peak_resident_bytes), scaled(e.full_precision_peak_resident_bytes), "{:,.0f} MiB")
                for e in entries
            ],
        ),
        row(
            "status",
            [Text(one.standing.status, style=STYLES[one.standing.status]) for one in found],
            [Text(status_of(one), style="yellow") for one in imports],
        ),
        row("serves at", [", ".join(at.endpoint for at in entry.serving) for entry in entries]),
        row("names", [", ".join(entry.aliases) for entry in entries]),
    ]
    slices = dict.fromkeys((drop.slice, drop.unit) for entry in entries for drop in entry.drops)
    for name, unit in slices:
        cells = []
        for entry in entries:
            drop = next((one for one in entry.drops if (one.slice, one.unit) == (name, unit)), None)
            digits = 1 if unit == "points" else 3
            cells.append(f"{signed(drop.drop, digits)} of {drop.max_drop:g}" if drop is not None else "")
        rows.append(row(f"drop, {name} ({unit})", cells))
    columns = [("", "text"), *((one.key[:12], "text") for one in (*entries, *imports))]
    return table_of(
        "Side by side; a drop is against full precision, positive is worse, of what was allowed", columns, rows
    )
