"""Before anything runs: what plays 5 and 6 need, should it come to them, and whether the gate leaves them a look."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.errors import Fault
from quantplay.formats import types_of
from quantplay.gate.ahead import looks_needed
from quantplay.plan import Envelope, Gate, MixedPrecision
from quantplay.plan_file import Place, PlanFile, close_to
from quantplay.plays.check_sets import Sets
from quantplay.qat.data import leaks_of
from quantplay.quantizers.layer_types import FULL, MIXED

TRAINING_LINES = "training:\n  file: training.jsonl"
CASE_LINES = "business_case: {requests_per_day: ..., tokens_per_request: ..., training_cost: ..., months: ..., ...}"


def ahead_faults(file: PlanFile, sets: Sets) -> Iterator[Fault]:
    """Everything that would stop play 5 or 6 when they are reached, hours from now."""
    parts = file.parts
    if parts.get("business_case") is not None and not file.tree.value.get("training"):
        yield file.fault(
            ("business_case",), "business_case: says what training wins, and nothing says what to train on",
            value="no part `training`", allowed="`training` with a `file` beside a business case",
            fix=f"add the texts to train on, in the form of the calibration file:\n{TRAINING_LINES}",
        )  # fmt: skip
    if (mixing := parts.get("mixed_precision")) is not None:
        yield from type_faults(file, mixing)
    if parts.get("training") is not None:
        yield from leak_faults(file, sets)


def type_faults(file: PlanFile, mixing: MixedPrecision) -> Iterator[Fault]:
    known = types_for(file.parts.get("envelope"))
    for position, name in enumerate(mixing.types):
        place: Place = ("mixed_precision", "types", position)
        label = f"mixed_precision.types[{position + 1}]"
        if name not in known:
            near = close_to(name, known)
            yield file.fault(
                place, f"{label}: no group of a mix can have this type", value=name, allowed=", ".join(known),
                fix=f"did you mean `{near}`?" if near else None,
            )  # fmt: skip
        elif name in mixing.types[:position]:
            yield file.fault(place, f"{label}: stands twice in the list", value=name, fix="remove one of the two")
    if len(set(mixing.types)) == 1:
        yield file.fault(
            ("mixed_precision", "types"), "mixed_precision.types: of one type alone nothing can be mixed",
            value=mixing.types[0], allowed="two types or more, or none for the usual ladder", fix="add types, or remove the line",
        )  # fmt: skip


def types_for(envelope: Envelope | None) -> tuple[str, ...]:
    """What a group may be in a mix: ggml's types, or those of the folders that the runtime loads."""
    from quantplay.engines.ggml import KINDS

    if envelope is None or any(kind.format == "gguf" for kind in types_of(envelope.runtime).values()):
        return KINDS
    return (FULL, *(kind for kinds in MIXED.values() for kind in kinds))


def leak_faults(file: PlanFile, sets: Sets) -> Iterator[Fault]:
    """A model trained on what is asked is not tested by it."""
    if sets.training is None:
        return
    splits = {"gate": sets.gate, "dev": sets.dev}
    evaluation = {name: items for name, items in splits.items() if items is not None}
    for leak in leaks_of(sets.training, evaluation, sets.heldout or ()):
        yield file.fault(
            ("training", "file"), f"training.file: {leak.where}: {leak.what}", value=leak.value, allowed=leak.allowed,
            fix=leak.fix,
        )  # fmt: skip


def ahead_warnings(file: PlanFile) -> Iterator[Fault]:
    """Parts of the plan that can't come to pass."""
    parts = file.parts
    gate: Gate | None = parts.get("gate")
    case, training = parts.get("business_case"), parts.get("training")
    if training is not None and case is None and not file.tree.value.get("business_case"):
        yield file.fault(
            ("training",), "training: never runs, because no business case says what it wins",
            fix=f"add what it costs and wins, which the engineering manager signs:\n{CASE_LINES}\nor remove `training`",
        )  # fmt: skip
    if gate is None:
        return
    for name, there in (("mixed_precision", parts.get("mixed_precision")), ("business_case", case)):
        if there is not None and gate.attempts < looks_needed(name):
            yield file.fault(
                (name,), f"{name}: is never reached, because the first candidate takes every look at the gate split",
                value=f"gate.attempts: {gate.attempts}", allowed=f"at least {looks_needed(name)}",
                fix=f"write `attempts: {looks_needed(name)}` under `gate:`; each look is then tested at a smaller level, which the power "
                "calculation counts in",
            )  # fmt: skip
