"""`quantplay registry`: every locked package and how it stands on this machine's stack."""

from __future__ import annotations

import json as json_library
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantplay.plays.standing import Standing
    from quantplay.store.incidents import Incident
    from quantplay.store.registry import Store


def command(json: bool = False) -> int:
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    here = settings()
    with open_store(here) as store:
        found = standings(store, here.threads)
        incidents = {one.package: one for one in store.list_incidents(open_only=True)}
    if json:
        packages = [
            {**one.body(), "incident": str(incidents[one.package].id) if one.package in incidents else None}
            for one in found
        ]
        print(json_library.dumps({"packages": packages}, indent=2))
    else:
        show(found, incidents)
    return 0


def standings(store: Store, threads: int) -> list[Standing]:
    """Newest first. The stack of today is this machine's: elsewhere the same package may stand differently."""
    from quantplay.envelope.hardware import measure_fingerprint
    from quantplay.plays.standing import Standing, standing

    stack, newest, found = measure_fingerprint(threads), store.latest_revalidations(), []
    for entry in store.locked_packages():
        at = entry.locked_at.isoformat(timespec="seconds")
        if entry.locked_on is None:
            why = "Locked by an earlier version, which did not note what it takes to measure it again; run its plan again."
            found.append(
                Standing(package=entry.key, name=entry.name, status="stale", at=at, revalidation=None, why=why)
            )
        else:
            found.append(
                standing(
                    package=entry.key, name=entry.name, locked_at=at, locked_on=entry.locked_on,
                    newest=newest.get(entry.key), stack=stack, now=datetime.now(UTC),
                )
            )  # fmt: skip
    return found


def show(found: list[Standing], incidents: dict[str, Incident]) -> None:
    from rich.text import Text

    from quantplay.cli.console import console
    from quantplay.cli.render import table_of
    from quantplay.cli.revalidate import STYLES

    if not found:
        console().print("No package is locked yet. `quantplay run PLAN` makes one.")
        return
    columns = [("package", "left"), ("plan", "left"), ("status", "left"), ("since", "left"), ("why", "text")]
    rows = [
        [
            one.package[:12], one.name, Text(one.status, style=STYLES[one.status]), one.at[:16].replace("T", " "),
            Text(one.why + (f" Incident {str(incidents[one.package].id)[:8]} is open." if one.package in incidents else "")),
        ]
        for one in found
    ]  # fmt: skip
    console().print(table_of("Locked packages, newest first, against this machine's stack", columns, rows))
    if any(one.status != "confirmed" for one in found):
        console().print("`quantplay revalidate PACKAGE` measures one again, `quantplay revalidate --all` every one.")
