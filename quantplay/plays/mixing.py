"""What play 5 may spend, and on what: the budget of a mix and the types its groups may take. Pure."""

from __future__ import annotations

from quantplay.envelope.mix import BULK
from quantplay.mixed.groups import place
from quantplay.plan import Plan
from quantplay.records import Artifact, EnvelopeChoice

MIB = 2**20
LADDER: dict[str, float] = {
    "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5, "Q4_K": 4.5, "IQ4_XS": 4.25, "Q3_K": 3.4375, "IQ3_S": 3.4375, "IQ3_XXS": 3.0625,
    "Q2_K": 2.625, "IQ2_S": 2.5625, "IQ2_XS": 2.3125, "IQ2_XXS": 2.0625, "IQ1_M": 1.75, "IQ1_S": 1.5625,
}  # fmt: skip
"""ggml type -> bits a weight, the most first. One of each size that llama.cpp runs well."""
MOST_PARTS, GROUPS_A_PART = (
    8,
    8,
)  # of a scan that workers share: each part loads the model and runs it twice before it measures
BELOW = 2  # types under the one that came short, for groups that hardly suffer


def ladder(plan: Plan, short: Artifact) -> tuple[str, ...]:
    """The ggml types a group may take: the plan's own, or those around the type that came short, the most bits first.

    Upward to twice its bits and a half more each way: what is interpolated between two types that lie too far apart is no
    measurement.
    """
    if plan.mixing.types:
        return plan.mixing.types
    bulk = bits_of(short)
    smaller = [name for name, bits in LADDER.items() if bits < bulk][:BELOW]
    return (*(name for name, bits in LADDER.items() if bulk <= bits <= 2 * bulk + 1.5), *smaller)


def parts_of_scan(short: Artifact) -> int:
    """In how many parts a pool's workers scan: by the number of groups alone, so that a run that goes on finds the parts it
    sent before, however many workers there are by then."""
    groups = {place(name)[2] for name, kind in short.tensors.items() if kind != "F32"}
    return max(1, min(MOST_PARTS, -(-len(groups) // GROUPS_A_PART)))


def bits_of(short: Artifact) -> float:
    """Of the type of most of its tensors; of one that is not in the ladder, as measured over the whole file."""
    return LADDER.get(BULK.get(short.type, ""), short.bits_per_weight)


def budget_bytes(plan: Plan, short: Artifact, choice: EnvelopeChoice) -> int:
    """Largest file a mix may be, in bytes: the plan's maximum, or some percent over `short`; never above what the envelope allows."""
    mixing, envelope = plan.mixing, plan.envelope
    limits = [
        mixing.max_artifact_mib * MIB
        if mixing.max_artifact_mib is not None
        else short.size_bytes * (1 + mixing.growth_percent / 100)
    ]
    if envelope.max_artifact_mib is not None:
        limits.append(envelope.max_artifact_mib * MIB)
    if choice.budget_bytes is not None:  # cache, activations and reserve take the rest
        limits.append(choice.budget_bytes - (choice.chosen.total_bytes - choice.chosen.weights_bytes))
    return int(min(limits))
