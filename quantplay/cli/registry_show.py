"""`quantplay registry show PACKAGE`: one locked package in full, with everything it was made of."""

from __future__ import annotations

import json as json_library
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from quantplay.store.catalogue import Wanted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.plays.in_full import Shown
    from quantplay.store.registry_imports import Imported


def command(package: str, json: bool = False) -> int:
    from quantplay.cli.packages import listed
    from quantplay.plays.in_full import gathered
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    here = settings()
    with open_store(here) as store:
        imported = store.find_import(package)
        if imported is not None:
            return show_import(imported, json=json)
        entry = store.package_named(package)
        (one,) = listed(store, here.threads, Wanted(key=entry.key))
        found = gathered(store, one)
    if json:
        print(json_library.dumps(body_of(found), indent=2))
    else:
        from quantplay.cli.console import console

        for part in parts_of(found, console().width):
            console().print(part)
        print(f"package: {entry.path}")
    return 0


def show_import(imported: Imported, *, json: bool) -> int:
    from quantplay.cli.console import console
    from quantplay.cli.registry_imports import body_of, parts_of

    if json:
        print(json_library.dumps(body_of(imported), indent=2))
        return 0
    for part in parts_of(imported):
        console().print(part)
    return 0


def body_of(found: Shown) -> dict[str, Any]:
    from quantplay.cli.lessons import body_of as body_of_lesson
    from quantplay.cli.packages import body_of as body_of_listed

    return {
        **body_of_listed(found.listed),
        "decision": found.decision.body() if found.decision is not None else None,
        "signoffs": [one.body() for one in found.signoffs],
        "alias_history": [{**asdict(one), "at": one.at.isoformat()} for one in found.names],
        "lineage": [asdict(step) for step in found.lineage],
        "lessons": [body_of_lesson(one) for one in found.lessons],
    }


def parts_of(found: Shown, width: int) -> list[RenderableType]:
    from rich.text import Text

    from quantplay.cli.lessons import lessons_table
    from quantplay.cli.render import gate_table, table_of
    from quantplay.cli.revalidate import STYLES

    one, entry = found.listed, found.listed.entry
    head = Text(f"{entry.name}  {entry.type or ''}  package {entry.key[:12]}  ", style="bold")
    parts: list[RenderableType] = [
        head.append(one.standing.status, style=STYLES[one.standing.status]),
        Text(one.standing.why),
    ]
    parts.append(
        table_of("What it is", [("", "left"), ("", "text")], [[name, Text(told)] for name, told in facts(found)])
    )
    if found.decision is not None:
        parts.append(gate_table(found.decision, width))
    columns = [("step", "left"), ("digest", "left"), ("", "text")]
    rows = [[step.what, step.key[:12], Text(step.told)] for step in found.lineage]
    parts.append(table_of("How it came about", columns, rows))
    if found.lessons:
        parts.append(lessons_table(found.lessons))
    return parts


def facts(found: Shown) -> list[tuple[str, str]]:
    """(name, what) of what a person asks first; nothing that is not known."""
    from quantplay.cli.render import mib
    from quantplay.plays.catalogue import chips

    entry = found.listed.entry
    serving = [f"{at.endpoint}: {at.state}, {100 * at.weight:g} % of conversations" for at in entry.serving]
    signed = [
        f"{one.stage}: {one.verdict} by {one.person} ({one.role}), {one.recorded_at[:16]}, {one.identified}"
        for one in found.signoffs
    ]
    given = {
        "use case": entry.use_case,
        "base model": f"{entry.source}, {entry.base[:12]}" if entry.base else entry.source,
        "format": f"{entry.format} {entry.type}, {entry.bits_per_weight:.2f} bits a weight"
        if entry.bits_per_weight
        else "",
        "size": mib(entry.size_bytes) if entry.size_bytes is not None else "",
        "runs in": f"{entry.runtime}, measured on {chips(entry) or 'what was not noted'}",
        "time per token": pair(entry.time_per_token_ms, entry.full_precision_time_per_token_ms, "{:.3g} ms"),
        "peak memory": pair(
            scaled(entry.peak_resident_bytes), scaled(entry.full_precision_peak_resident_bytes), "{:,.0f} MiB"
        ),
        "owners": f"{entry.owner}; {entry.product_owner}",
        "signed": "\n".join(signed) or "nobody has to, or nobody did",
        "serves at": "\n".join(serving) or "no endpoint",
        "names": ", ".join(entry.aliases) or "none",
        "incident": f"{entry.incident[:8]} is open" if entry.incident else "",
    }
    return [(name, told) for name, told in given.items() if told]


def scaled(size_bytes: int | None) -> float | None:
    return size_bytes / (1 << 20) if size_bytes is not None else None


def pair(ours: float | None, full: float | None, form: str) -> str:
    if ours is None or full is None:
        return ""
    return f"{form.format(ours)}; full precision {form.format(full)}"
