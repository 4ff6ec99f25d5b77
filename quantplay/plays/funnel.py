"""The playbook as a funnel: at which play models leave it, and with what outcome. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from quantplay.records import Record

Stage = Literal["envelope", "ptq", "mixed_precision", "training"]
STAGES: dict[Stage, tuple[str, str]] = {
    "envelope": ("1, 2", "baseline and envelope"),
    "ptq": ("3, 4", "post-training quantization"),
    "mixed_precision": ("5", "mixed precision"),
    "training": ("6", "quantization-aware training"),
}
"""Where a model can leave -> numbers of the plays, and their name. The gate (play 4) stands after each but the first."""
FIRST_PLAYS: dict[Stage, frozenset[str]] = {
    "envelope": frozenset({"calibration", "baseline", "envelope"}),
    "ptq": frozenset({"ptq"}),
    "mixed_precision": frozenset({"sensitivity", "mix"}),
    "training": frozenset({"training"}),
}
"""Plays of a run that show it has come that far."""


class Passage(Record):
    """How far one run came."""

    run: str
    model: str  # content of the full-precision model
    plays: frozenset[str]  # names of the plays it finished
    left_at: Stage | None  # None while it goes on, waits or has failed
    outcome: str | None


class FunnelRow(Record):
    """One stage. A model counts by its newest run that left: it stands in one row, however often it was tried."""

    stage: Stage
    plays: str  # numbers
    name: str
    runs_entered: int
    models_entered: int
    runs_left: dict[str, int]  # outcome -> runs
    models_left: dict[str, int]  # outcome -> models
    runs_under_way: int  # came this far and have not left: they go on, wait, or failed


def left_at(*, artifact: bool, mixed: bool, trained: bool) -> Stage:
    """The stage that made the last candidate; `envelope` where there never was one."""
    if trained:
        return "training"
    if mixed:
        return "mixed_precision"
    return "ptq" if artifact else "envelope"


def left_words(stage: str) -> str:
    """`play 5, mixed precision`."""
    plays, name = STAGES[stage]  # type: ignore[index]
    return f"play{'s' if ',' in plays else ''} {plays.replace(', ', ' and ')}, {name}"


def funnel(passages: Sequence[Passage]) -> tuple[FunnelRow, ...]:
    """`passages`, oldest first, by stage."""
    newest = {one.model: one for one in passages if one.left_at is not None}
    return tuple(row_of(stage, passages, newest.values()) for stage in STAGES)


def row_of(stage: Stage, passages: Sequence[Passage], newest: Iterable[Passage]) -> FunnelRow:
    came = [one for one in passages if entered(one, stage)]
    plays, name = STAGES[stage]
    return FunnelRow(
        stage=stage, plays=plays, name=name,
        runs_entered=len(came), models_entered=len({one.model for one in came}),
        runs_left=outcomes(one for one in passages if one.left_at == stage),
        models_left=outcomes(one for one in newest if one.left_at == stage),
        runs_under_way=sum(one.left_at is None and farthest(one) == stage for one in passages),
    )  # fmt: skip


def entered(one: Passage, stage: Stage) -> bool:
    """A stage is entered by a play of its own; mixed precision is passed over where a first candidate is broken."""
    return one.left_at == stage or bool(one.plays & FIRST_PLAYS[stage])


def farthest(one: Passage) -> Stage | None:
    """The last stage this run entered."""
    return next((stage for stage in reversed(STAGES) if entered(one, stage)), None)


def outcomes(some: Iterable[Passage]) -> dict[str, int]:
    return dict(sorted(Counter(str(one.outcome) for one in some).items()))
