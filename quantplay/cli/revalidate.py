"""`quantplay revalidate`: locked packages measured again on this machine; exit code of the worst status."""

from __future__ import annotations

import json as json_library
from typing import TYPE_CHECKING

from quantplay.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.plays.standing import Standing
    from quantplay.records import Revalidation

STYLES = {"confirmed": "green", "stale": "yellow", "regressed": "red"}


def command(package: str = "", all: bool = False, only_if_changed: bool = False, json: bool = False) -> int:  # noqa: A002
    if all == bool(package):
        raise InputError(
            "name one package, or all of them", value=package or "nothing named", allowed="PACKAGE, or --all",
            fix="`quantplay registry` lists the locked packages",
        )  # fmt: skip
    from flows.local_revalidate import revalidate_here
    from quantplay.cli.console import RunView, errors_console
    from quantplay.outcomes import STANDINGS
    from quantplay.plays.standing import worst_of
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    if "/" in package:  # an alias; a key has no slash
        with open_store(settings()) as store:
            package = store.package_named(package).key
    with RunView(errors_console()) as view:
        found = revalidate_here("all" if all else package, only_if_changed, view.say, view)
    with open_store(settings()) as store:
        records = {
            one.package: store.get_revalidation(one.revalidation) for one in found if one.revalidation is not None
        }
    status = worst_of(one.status for one in found)
    if json:
        body = {"status": status, "packages": [body_of(one, records.get(one.package)) for one in found]}
        print(json_library.dumps(body, indent=2))
    else:
        from quantplay.cli.console import console

        for one in found:
            for part in parts_of(one, records.get(one.package)):
                console().print(part)
        if not found:
            console().print("No package is locked yet.")
    return STANDINGS[status].exit_code


def body_of(one: Standing, record: Revalidation | None) -> dict[str, object]:
    return {**one.body(), "record": record.body() if record is not None else None}


def parts_of(one: Standing, record: Revalidation | None) -> list[RenderableType]:
    """Status, reasons, what moved a slice, alarms."""
    from rich.markup import escape
    from rich.text import Text

    from quantplay.cli.render import table_of

    head = Text(f"{one.name}  package {one.package[:12]}  ").append(one.status, style=STYLES[one.status])
    parts: list[RenderableType] = [head]
    parts += [f"  {escape(reason)}" for reason in (record.reasons if record is not None else (one.why,))]
    if record is not None and record.slices:
        rows: list[list[RenderableType]] = [
            [
                f"{one.slice}{', loss' if one.metric == 'gold_loss' else ''}", f"{one.items:,}", f"{one.lost} / {one.won}",
                f"{one.drop:+.3g} {one.unit}", f"{one.max_drop:g} {one.unit}", one.verdict,
            ]
            for one in record.slices
        ]  # fmt: skip
        columns = [
            ("slice", "left"),
            ("items", "right"),
            ("lost / won", "right"),
            ("drop", "right"),
            ("allowed", "right"),
        ]
        parts.append(table_of("Against what was locked", [*columns, ("verdict", "left")], rows))
        parts += [Text(f"to look at: {alarm.text}", style="yellow") for alarm in record.alarms]
    return parts
