"""Before anything is compared: do baseline and candidate belong together, and which item belongs to which slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.plan import Gate
from quantplay.records import ArmRun, Artifact, Baseline, Evaluation, ItemResult


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One item answered by all three arms."""

    source: ItemResult
    reference: ItemResult
    candidate: ItemResult

    @property
    def graded(self) -> bool:
        arms = (self.source, self.candidate)
        return any(item.graded or item.score not in (0, 1) for item in arms)


def pair_items(gate: Gate, baseline: Baseline, evaluation: Evaluation, artifact: Artifact) -> dict[str, Pair]:
    """Every item by id, in the order of the ids, so that no result depends on the order items were run in.

    Raises IntegrityError where arms, harness or artifact don't match, InputError where a gated slice has no items.
    """
    arms = {
        "baseline, source": baseline.source,
        "baseline, full precision in the serving runtime": baseline.reference,
        "candidate": evaluation.candidate,
    }
    faults = [*harness_faults(baseline, evaluation, arms), *artifact_faults(evaluation, artifact)]
    faults += [fault for name, arm in arms.items() for fault in arm_faults(name, arm, baseline.source)]
    if faults:
        raise IntegrityError("baseline and candidate can't be compared", faults=faults)
    reference, candidate = ({item.id: item for item in arm.items} for arm in (baseline.reference, evaluation.candidate))
    pairs = {
        item.id: Pair(source=item, reference=reference[item.id], candidate=candidate[item.id])
        for item in sorted(baseline.source.items, key=lambda item: item.id)
    }
    empty = list(empty_slices(gate, baseline, pairs))
    if empty:
        raise InputError("a gated slice has no items to decide on", faults=empty)
    return pairs


def harness_faults(baseline: Baseline, evaluation: Evaluation, arms: dict[str, ArmRun]) -> Iterator[Fault]:
    digests = {"baseline": baseline.harness, "evaluation": evaluation.harness}
    digests |= {name: arm.harness for name, arm in arms.items()}
    for name, digest in digests.items():
        if digest != baseline.harness:
            yield Fault(
                where=name,
                what="was measured with another harness than the baseline",
                value=digest,
                allowed=baseline.harness,
                fix="run both again with the same harness, tasks and decoding",
            )


def artifact_faults(evaluation: Evaluation, artifact: Artifact) -> Iterator[Fault]:
    measured = {"evaluation": evaluation.artifact, "candidate": evaluation.candidate.model}
    for where, digest in measured.items():
        if digest != artifact.sha256:
            yield Fault(
                where=where,
                what="was measured on another file than the artifact to decide on",
                value=digest,
                allowed=artifact.sha256,
                fix="evaluate this artifact",
            )


def arm_faults(name: str, arm: ArmRun, source: ArmRun) -> Iterator[Fault]:
    if arm.split != "gate":
        yield Fault(
            where=name,
            what="ran on a split that can't decide",
            value=arm.split,
            allowed="gate",
            fix="run the gate split",
        )
    mine, theirs = {item.id: item for item in arm.items}, {item.id: item for item in source.items}
    if len(mine) < len(arm.items):
        yield Fault(where=name, what="answers an item twice", value=some(repeated([item.id for item in arm.items])))
    missing, extra = sorted(theirs.keys() - mine.keys()), sorted(mine.keys() - theirs.keys())
    if missing:
        yield Fault(where=name, what=f"lacks {len(missing)} items the baseline answered", value=some(missing))
    if extra:
        yield Fault(where=name, what=f"has {len(extra)} items the baseline never answered", value=some(extra))
    moved = [
        key
        for key in sorted(mine.keys() & theirs.keys())
        if (mine[key].slice, mine[key].cluster) != (theirs[key].slice, theirs[key].cluster)
    ]
    if moved:
        yield Fault(where=name, what=f"puts {len(moved)} items into another slice or document", value=some(moved))


def empty_slices(gate: Gate, baseline: Baseline, pairs: dict[str, Pair]) -> Iterator[Fault]:
    present = {pair.source.slice for pair in pairs.values()}
    for name in gate.slices:
        if name not in present:
            yield Fault(where=f"gate.slices.{name}", what="no item has this slice", allowed=", ".join(sorted(present)))
    if not baseline.hardest:
        yield Fault(where="gate.hardest", what="the baseline froze no hardest items", fix="run the baseline again")
    if len(set(baseline.hardest)) < len(baseline.hardest):
        yield Fault(where="baseline.hardest", what="an item is named twice", value=some(repeated(baseline.hardest)))
    unknown = [key for key in baseline.hardest if key not in pairs]
    if unknown:
        yield Fault(
            where="baseline.hardest", what=f"{len(unknown)} items are not in the gate split", value=some(unknown)
        )


def repeated(keys: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({key for key in keys if key in seen or seen.add(key)})


def some(keys: Sequence[str]) -> str:
    """The first few ids and how many more there are."""
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
