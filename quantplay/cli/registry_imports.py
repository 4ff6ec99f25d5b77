"""Imported artifacts as the registry's commands show them: beside the packages, and never among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantplay.plays.unvalidated import UNVALIDATED

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.store.registry_imports import Imported

LEFT_SHOWN = 6  # names of matrices left at full precision


def status_of(one: Imported) -> str:
    return "validated" if one.validated else UNVALIDATED


def body_of(one: Imported) -> dict[str, Any]:
    return {**one.told.body(), "status": status_of(one), "why": one.why, "package": one.package, "verdict": one.verdict}


def imports_table(found: tuple[Imported, ...]) -> RenderableType:
    from rich.text import Text

    from quantplay.cli.render import mib, table_of

    columns = [("artifact", "left"), ("name", "text"), ("type", "left"), ("bits", "right"), ("size", "right")]
    columns += [("made from", "text"), ("status", "left"), ("why", "text")]
    rows: list[list[RenderableType]] = [
        [
            one.key[:12], Text(one.told.name), one.told.type, f"{one.told.bits_per_weight:.2f}", mib(one.told.size_bytes),
            Text(one.told.base_source), Text(status_of(one), style="yellow"), Text(one.why),
        ]
        for one in found
    ]  # fmt: skip
    return table_of("Quantized elsewhere and unvalidated: not to be released", columns, rows)


def parts_of(one: Imported) -> list[RenderableType]:
    from rich.text import Text

    from quantplay.cli.render import table_of

    head = Text(f"{one.told.name}  {one.told.type}  imported artifact {one.key[:12]}  ", style="bold")
    rows = [[name, Text(told)] for name, told in facts(one)]
    return [
        head.append(status_of(one), style="green" if one.validated else "yellow"), Text(one.why),
        table_of("What it says about itself", [("", "left"), ("", "text")], rows),
    ]  # fmt: skip


def facts(one: Imported) -> list[tuple[str, str]]:
    from quantplay.cli.render import mib

    told = one.told
    left = ", ".join(told.full_precision[:LEFT_SHOWN])
    more = len(told.full_precision) - LEFT_SHOWN
    group = f"groups of {told.group_size}" if told.group_size else "a scale a row"
    given = {
        "sha256": told.sha256,
        "file": f"{told.file_name}, {mib(told.size_bytes)}",
        "format": f"{told.format} {told.type}, {told.nominal_bits} bits in {group}, {told.bits_per_weight:.2f} bits a weight in all",
        "left unquantized": (left + (f" and {more} more" if more > 0 else "")) or "no matrix",
        "made from": f"{told.base_source}, {told.base[:12]}, as {told.said_by} says; its architecture and shapes agree",
        "comes from": told.origin,
        "imported": f"{told.at[:16]} by {told.said_by}",
        "in its own words": "\n".join(f"{name}: {said}" for name, said in told.words.items()),
    }
    return [(name, said) for name, said in given.items() if said]
