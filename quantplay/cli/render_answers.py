"""The answers of a run that changed: what full precision said, what the quantized model says. `quantplay show RUN --answers N`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from quantplay.cli.run_records import RunRecords
from quantplay.handoff.flips import in_turn, visible
from quantplay.records import ItemResult

Pair = tuple[ItemResult, ItemResult]


def changed(records: RunRecords) -> tuple[list[Pair], list[Pair]]:
    """Pairs of full precision and the newest candidate whose score differs: lost ones and won ones, slices in turn."""
    if records.baseline is None or not records.evaluations:
        return [], []
    candidate = {item.id: item for item in records.evaluations[-1].candidate.items}
    pairs = [(item, candidate[item.id]) for item in records.baseline.source.items if item.id in candidate]
    return in_turn([(a, b) for a, b in pairs if b.score < a.score]), in_turn(
        [(a, b) for a, b in pairs if b.score > a.score]
    )


def answers_body(records: RunRecords, most: int) -> list[dict[str, Any]]:
    lost, won = changed(records)
    return [
        {"id": a.id, "slice": a.slice, "full_precision": a.response, "quantized": b.response, "scores": [a.score, b.score]}
        for a, b in (lost + won)[:most]
    ]  # fmt: skip


def answers_parts(records: RunRecords, most: int) -> Iterator[RenderableType]:
    lost, won = changed(records)
    shown = (lost + won)[:most]
    yield ""
    yield Text(
        f"Answers that changed: {len(lost)} lost, {len(won)} won" + (f"; {len(shown)} shown" if shown else ""),
        style="bold",
    )
    for a, b in shown:
        kind, style = ("lost", "red") if b.score < a.score else ("won", "green")
        yield Text.assemble("\n", (kind, style), f"  {a.slice}  ", (a.id, "dim"))
        yield Text(f"  full precision: {visible(a.response.strip())}")
        yield Text(f"  quantized:      {visible(b.response.strip())}")
