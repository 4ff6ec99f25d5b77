"""A model update (the mission's W4): another model under the very data, harness, envelope and gate that a locked run had.

Whatever decides may not change with the model, or the two runs say nothing about each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from quantplay.errors import Fault, InputError
from quantplay.plan import Plan
from quantplay.plays import keys
from quantplay.records import Decision, Digest, EarlierSlice, Inputs, Manifest

KEPT = ("profile", "seed", "decoding", "gate", "envelope")
KEPT_OF_CALIBRATION = ("samples", "tokens")
KEPT_FILES = ("calibration", "evaluation", "heldout")
FREE = "another model, name, use case with its class, trade-off, owners, deviations, business case and traffic sample; all else as in that run"


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The locked run that is updated."""

    run: str
    plan: Plan
    inputs: Inputs
    harness: Digest  # that its baseline and its evaluation were measured with


def require_update(earlier: Earlier, plan: Plan, inputs: Inputs) -> None:
    """Raise InputError with everything in which `plan`, over `inputs`, differs from the run it says it updates."""
    faults = [*plan_differences(earlier.plan, plan), *file_differences(earlier.inputs, inputs)]
    if inputs.model.content == earlier.inputs.model.content:
        faults.append(
            Fault(
                where="model", what="is the very model of that run", value=inputs.model.content, allowed="another model",
                fix="run its plan again: what is there is looked up",
            )
        )  # fmt: skip
    harness = keys.harness_of(earlier.plan, earlier.inputs)
    if harness != earlier.harness:
        faults.append(
            Fault(
                where="harness", what="has changed since that run was measured", value=harness, allowed=earlier.harness,
                fix="take `updates` out of the plan: a run of its own measures with the harness of today",
            )
        )  # fmt: skip
    if faults:
        raise InputError(
            f"this plan is no update of run {earlier.run[:8]}: {len(faults)} thing{'s differ' if len(faults) > 1 else ' differs'}",
            faults=faults, allowed=FREE,
        )  # fmt: skip


def plan_differences(before: Plan, now: Plan) -> Iterator[Fault]:
    """Every value that an update keeps and `now` does not, by its path in the plan."""
    old, new = before.body(), now.body()
    for name in KEPT:
        yield from unequal(name, old[name], new[name])
    for name in KEPT_OF_CALIBRATION:
        yield from unequal(f"calibration.{name}", old["calibration"][name], new["calibration"][name])


def unequal(path: str, old: Any, new: Any) -> Iterator[Fault]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from unequal(f"{path}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield Fault(where=path, what="differs from that run's", value=words(new), allowed=words(old))


def words(value: Any) -> str:
    return "not there" if value is None else str(value)


def file_differences(before: Inputs, now: Inputs) -> Iterator[Fault]:
    """Every set that is not the same bytes, with the files that differ."""
    for kind in KEPT_FILES:
        old, new = getattr(before, kind), getattr(now, kind)
        if old.content != new.content:
            yield Fault(
                where=f"{kind} files", what="are not those of that run", value=f"{', '.join(changed(old, new))}: {new.content}",
                allowed=old.content, fix="restore them; a new set is a new plan with a run of its own",
            )  # fmt: skip


def changed(old: Manifest, new: Manifest) -> list[str]:
    pairs = {(file.path, file.sha256) for file in old.files} ^ {(file.path, file.sha256) for file in new.files}
    return sorted({path for path, _ in pairs})


def earlier_slices(decision: Decision) -> tuple[EarlierSlice, ...]:
    """What a decision says of each gated quantity, without its bounds."""
    return tuple(
        EarlierSlice(
            slice=one.slice, metric=one.metric, unit=one.unit, baseline=one.baseline, candidate=one.candidate, drop=one.drop
        )
        for one in decision.slices
    )  # fmt: skip
