"""`quantplay registry baselines`: which baselines may be reused, until when, and taking that away."""

from __future__ import annotations

import getpass
import json as json_library
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from quantplay.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.records import Baseline
    from quantplay.store.sanctions import Sanction


def command(revoke: str | None = None, reason: str | None = None, json: bool = False) -> int:
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    if revoke is not None and not (reason or "").strip():
        raise InputError(
            "revoking a baseline needs a reason", value=revoke, fix="add --reason TEXT; it is kept with the baseline"
        )
    with open_store(settings()) as store:
        if revoke is not None:
            store.revoke_baseline(revoke, str(reason), getpass.getuser())
        found = [(one, store.get_baseline(one.baseline)) for one in store.list_baselines()]
    rows = [(sanction, baseline) for sanction, baseline in found if baseline is not None]
    if json:
        print(json_library.dumps({"baselines": [body_of(*row) for row in rows]}, indent=2))
    else:
        from quantplay.cli.console import console

        console().print(
            baselines_table(rows, console().width) if rows else "No baseline yet. `quantplay run PLAN` measures one."
        )
    return 0


def body_of(sanction: Sanction, baseline: Baseline) -> dict[str, Any]:
    times = {
        key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in asdict(sanction).items()
    }
    return times | {
        "state": state_of(sanction),
        "model": baseline.model,
        "evaluation": baseline.evaluation,
        "harness": baseline.harness,
        "fingerprint": baseline.fingerprint.digest(),
        "cpu": baseline.fingerprint.hardware.cpu,
        "precision": baseline.precision,
        "scores": baseline.source.scores(),
    }


def state_of(sanction: Sanction) -> str:
    if sanction.revoked_at is not None:
        return "revoked"
    return "valid" if sanction.valid else "expired"


def baselines_table(rows: list[tuple[Sanction, Baseline]], width: int) -> RenderableType:
    """Newest first; scores are the mean over the slices, in points."""
    from rich.text import Text

    from quantplay.cli.render import WIDE, table_of

    styles = {"valid": "green", "expired": "yellow", "revoked": "red"}
    columns = [("baseline", "left"), ("model", "left"), ("items", "right"), ("score", "right"), ("until", "left")]
    columns += [("runs", "right"), ("state", "left")]
    columns += (
        [("evaluation", "left"), ("harness", "left"), ("measured on", "text"), ("reason", "text")]
        if width >= WIDE
        else []
    )
    cells = []
    for sanction, baseline in rows:
        scores = baseline.source.scores()
        state = state_of(sanction)
        row: list[RenderableType] = [
            sanction.baseline[:12], baseline.model[:12], f"{len(baseline.source.items):,}",
            f"{100 * sum(scores.values()) / len(scores):.1f}", f"{sanction.expires_at.astimezone():%Y-%m-%d}",
            str(sanction.runs), Text(state, style=styles[state]),
        ]  # fmt: skip
        if width >= WIDE:
            row += [
                baseline.evaluation[:12],
                baseline.harness[:12],
                baseline.fingerprint.hardware.cpu,
                sanction.reason or "",
            ]
        cells.append(row)
    return table_of("Sanctioned baselines, newest first", columns, cells)
