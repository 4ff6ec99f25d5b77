"""`quantplay drift NAME`: a day of an endpoint's traffic, feature by feature, against what is usual and what it was calibrated with."""

from __future__ import annotations

import json as json_library
from typing import TYPE_CHECKING

from quantplay.cli.days import read_day

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.live.drift.finding import DriftFinding


def command(endpoint: str, day: str | None = None, json: bool = False) -> int:
    from quantplay.live.drift.look import look_for_drift
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    chosen = None if day is None else read_day(day, "--day", "2026-11-21")
    with open_store(settings()) as store:
        found = look_for_drift(store, endpoint, chosen)
    if json:
        print(json_library.dumps(found.body(), indent=2))
        return 0
    from quantplay.cli.console import console

    for part in parts(found):
        console().print(part)
    return 0


def parts(found: DriftFinding) -> list[RenderableType]:
    from rich.text import Text

    from quantplay.cli.render import table_of
    from quantplay.live.drift.words import NAMES

    head = f"{found.endpoint}, {found.day}: {found.status}. {' '.join(found.reasons)}"
    looked = f"{found.looked:,} conversations looked at, of about {found.conversations:,}"
    shown: list[RenderableType] = [Text(head), Text(f"{looked}; {found.days} days are taken as usual.")]
    rows = [[NAMES[one.family], one.day, one.reference, *bits(one.distance, one.limit)] for one in found.readings]
    shown.append(table_of("The day against what is usual", columns("this day", "usual"), rows))
    known = [one for one in found.readings if one.from_calibration is not None]
    if known:
        rows = [
            [NAMES[one.family], one.reference, one.calibration, *bits(one.from_calibration, one.calibration_limit)]
            for one in known
        ]
        shown.append(table_of("What is usual against the calibration set", columns("usual", "calibration"), rows))
    if found.unlike:
        shown.append(Text("From the start the calibration set differs. " + " ".join(found.unlike)))
    if found.due and found.measure is not None:
        shown.append(Text(f"Measure the package again: quantplay revalidate {found.measure[:12]}"))
    return shown


def columns(first: str, second: str) -> list[tuple[str, str]]:
    return [
        ("", "left"),
        (first, "text"),
        (second, "text"),
        ("distance", "right"),
        ("limit", "right"),
        ("", "left"),
    ]


def bits(distance: float | None, limit: float | None) -> list[str]:
    if distance is None or limit is None:
        return ["", "", ""]
    return [f"{distance:.4f}", f"{limit:.4f}", "beyond" if distance > limit else ""]
