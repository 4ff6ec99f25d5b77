"""`quantplay registry [list|find]`: locked packages and how each stands on this machine's stack."""

from __future__ import annotations

import json as json_library
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from quantplay.errors import InputError
from quantplay.store.catalogue import Wanted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.plays.catalogue import Listed
    from quantplay.store.registry import Store

STATES = ("confirmed", "stale", "regressed", "unvalidated")


def command(
    json: bool = False, state: str | None = None, looking: bool = False, limit: int = 100, **wanted: object
) -> int:
    """`wanted`: fields of Wanted; `looking`: somebody looks for something, so that it has to be named; `limit`: the newest ones."""
    from quantplay.cli.console import console
    from quantplay.cli.registry_imports import body_of as of_import
    from quantplay.cli.registry_imports import imports_table
    from quantplay.plays.unvalidated import wanted_imports
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    if state is not None and state not in STATES:
        raise InputError("there is no such state", value=state, allowed=", ".join(STATES))
    given = {name: value for name, value in wanted.items() if value not in (None, "")}
    if looking and not given and state is None:
        raise InputError(
            "nothing to look for", allowed="a text, or an option such as --base, --runtime, --hardware, --bits, --use-case",
            fix="`quantplay registry list` shows every package",
        )  # fmt: skip
    here = settings()
    with open_store(here) as store:
        # How one stands is known only after it is read. One more than is shown tells whether there are more.
        most = limit + 1 if state is None else None
        found = listed(store, here.threads, Wanted(**given, limit=most))  # type: ignore[arg-type]
        imports = wanted_imports(store.list_imports(), given, state)
    found = tuple(one for one in found if state in (None, one.standing.status))
    more, found = len(found) > limit, found[:limit]
    if json:
        told = {
            "packages": [body_of(one) for one in found],
            "more": more,
            "imports": [of_import(one) for one in imports],
        }
        print(json_library.dumps(told, indent=2))
    else:
        if found or not imports:
            show(found, wanted=bool(given or state))
        if imports:
            console().print(imports_table(imports))
        if more:
            console().print(
                f"These are the newest {limit}; there are more: --limit shows them, or `quantplay registry find`."
            )
    return 0


def listed(store: Store, threads: int, wanted: Wanted) -> tuple[Listed, ...]:
    """Newest first. The stack of today is this machine's: elsewhere the same package may stand differently."""
    from quantplay.envelope.hardware import measure_fingerprint
    from quantplay.plays.catalogue import stood

    entries = store.find_packages(wanted)
    return stood(entries, measure_fingerprint(threads), datetime.now(UTC)) if entries else ()


def body_of(one: Listed) -> dict[str, object]:
    from quantplay.plays.catalogue import row_of

    entry = one.entry
    return {
        **row_of(one), **one.standing.body(), "incident": entry.incident, "aliases": list(entry.aliases),
        "serving": [{"endpoint": at.endpoint, "state": at.state, "weight": at.weight} for at in entry.serving],
        "drops": [
            {"slice": drop.slice, "unit": drop.unit, "drop": drop.drop, "upper": drop.upper, "allowed": drop.max_drop}
            for drop in entry.drops
        ],
    }  # fmt: skip


def show(found: tuple[Listed, ...], *, wanted: bool) -> None:
    from quantplay.cli.console import console

    out = console()
    if not found:
        none = (
            "No locked package is like this." if wanted else "No package is locked yet. `quantplay run PLAN` makes one."
        )
        out.print(none)
        return
    out.print(packages_table(found, out.width))
    if any(one.standing.status != "confirmed" for one in found):
        out.print("`quantplay revalidate PACKAGE` measures one again, `quantplay revalidate --all` every one.")


def packages_table(found: tuple[Listed, ...], width: int) -> RenderableType:
    """Wide, with what there is to choose by; else with why each stands as it does."""
    from rich.text import Text

    from quantplay.cli.render import WIDE, mib, signed, table_of
    from quantplay.cli.revalidate import STYLES
    from quantplay.plays.catalogue import chips

    wide = width >= WIDE
    columns = [("package", "left"), ("plan", "text"), ("type", "left")]
    columns += [("size", "right"), ("worst drop", "right"), ("chip", "text")] if wide else []
    columns += [("status", "left"), ("since", "left"), ("why", "text")]
    rows = []
    for one in found:
        entry, worst = one.entry, one.entry.worst
        names = "".join(f"\n{name}" for name in entry.aliases)
        told = f" Incident {entry.incident[:8]} is open." if entry.incident is not None else ""
        served = "".join(f" At {at.endpoint}: {at.state}, {100 * at.weight:g} %." for at in entry.serving)
        row: list[RenderableType] = [entry.key[:12], Text(entry.name).append(names, style="cyan"), entry.type or ""]
        if wide:
            drop = f"{signed(worst.drop, 1 if worst.unit == 'points' else 3)} {worst.unit}" if worst else ""
            row += [mib(entry.size_bytes) if entry.size_bytes is not None else "", drop, Text(chips(entry))]
        row += [
            Text(one.standing.status, style=STYLES[one.standing.status]), one.standing.at[:10],
            Text(one.standing.why + told + served),
        ]  # fmt: skip
        rows.append(row)
    return table_of("Locked packages, newest first, against this machine's stack", columns, rows)
