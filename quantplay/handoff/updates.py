"""An update beside the run it updates: each gated quantity then and now, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantplay.handoff import words
from quantplay.plan import Plan
from quantplay.records import Decision, EarlierSlice, SliceVerdict, Update


@dataclass(frozen=True, kw_only=True)
class ThenNow:
    """One gated quantity in both runs."""

    slice: str
    metric: str
    title: str
    full_then: str
    full_now: str
    quantized_then: str
    quantized_now: str
    drop_then: str
    drop_now: str


HEAD = (
    "Slice",
    "Full precision then",
    "Full precision now",
    "Quantized then",
    "Quantized now",
    "Drop then",
    "Drop now",
)


def cells(row: ThenNow) -> tuple[str, ...]:
    """In the order of `HEAD`."""
    return (
        row.title, row.full_then, row.full_now, row.quantized_then, row.quantized_now, row.drop_then, row.drop_now,
    )  # fmt: skip


def then_and_now(update: Update, decision: Decision, plan: Plan) -> tuple[ThenNow, ...]:
    """Rows in the order of the new decision; a quantity the earlier run did not gate has nothing in its `then`."""
    before = {(one.slice, one.metric): one for one in update.slices}
    return tuple(row(before.get((one.slice, one.metric)), one, plan) for one in decision.slices)


def row(old: EarlierSlice | None, new: SliceVerdict, plan: Plan) -> ThenNow:
    digits, unit = words.digits_of(new), "%" if new.unit == "points" else new.unit

    def shown(value: float | None) -> str:
        return "" if value is None else f"{words.number(value, digits)} {unit}"

    def drop(value: float | None) -> str:
        return "" if value is None else f"{words.number(value, digits)} {new.unit}"

    return ThenNow(
        slice=new.slice, metric=new.metric, title=words.slice_title(plan, new),
        full_then=shown(old.baseline if old else None), full_now=shown(new.baseline),
        quantized_then=shown(old.candidate if old else None), quantized_now=shown(new.candidate),
        drop_then=drop(old.drop if old else None), drop_now=drop(new.drop),
    )  # fmt: skip


def update_sentence(update: Update, kind: str | None) -> str:
    """What is updated, and whether its serving type could be kept."""
    now = "" if kind is None else "; so is this one" if kind == update.type else f"; this one is {kind}"
    return (
        f"This updates run {update.run[:8]}: another model under the same data, harness, envelope and gate. "
        f"What that run locked is {update.type}{now}."
    )


def updates_of(update: Update | None, decision: Decision | None, plan: Plan) -> Sequence[ThenNow]:
    return then_and_now(update, decision, plan) if update is not None and decision is not None else ()
