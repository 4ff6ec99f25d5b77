"""What play 5 may spend, and on what: the budget of a mix and the types its groups may take. Pure."""

from __future__ import annotations

from quantplay.engines.ggml import bits_per_weight
from quantplay.envelope.mix import BULK
from quantplay.errors import InputError
from quantplay.gate.ahead import cannot_mix
from quantplay.mixed.folder_served import place as place_of_layer
from quantplay.mixed.groups import place
from quantplay.plan import Plan
from quantplay.quantizers.layer_types import FULL, MIXED, quantized_layers
from quantplay.records import Artifact, EnvelopeChoice

MIB = 2**20
LADDER = (
    "Q8_0", "Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q3_K", "IQ3_S", "IQ3_XXS", "Q2_K", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
)  # fmt: skip
"""ggml types a group may take, the most bits first. One of each size that llama.cpp runs well."""
MOST_PARTS, GROUPS_A_PART = (
    8,
    8,
)  # of a scan that workers share: each part loads the model and runs it twice before it measures
BELOW = 2  # types under the one that came short, for groups that hardly suffer


def ladder(plan: Plan, short: Artifact) -> tuple[str, ...]:
    """The types a group may take: the plan's own, or those around the type that came short, the most bits first.

    Of ggml's upward to twice its bits and a half more each way: what is interpolated between two types that lie too far apart is
    no measurement. A folder has few types, so all of them, and full precision. Raises InputError where nothing can be mixed.
    """
    if (why := cannot_mix(short.type)) is not None:
        raise InputError(why)
    if plan.mixing.types:
        return plan.mixing.types
    if short.format != "gguf":
        return (FULL, *MIXED[short.format])
    bulk = bits_of(short)
    smaller = [name for name in LADDER if bits_per_weight(name) < bulk][:BELOW]
    return (*(name for name in LADDER if bulk <= bits_per_weight(name) <= 2 * bulk + 1.5), *smaller)


def parts_of_scan(short: Artifact) -> int:
    """In how many parts a pool's workers scan: by the number of groups alone, so that a run that goes on finds the parts it
    sent before, however many workers there are by then."""
    if short.format == "gguf":
        groups = {place(name)[2] for name, kind in short.tensors.items() if kind != "F32"}
    else:
        groups = {place_of_layer(layer)[2] for layer in quantized_layers(short.format, short.tensors)}
    return max(1, min(MOST_PARTS, -(-len(groups) // GROUPS_A_PART)))


def bits_of(short: Artifact) -> float:
    """Of the type of most of its tensors; of one that is not in the ladder, as measured over the whole file."""
    bulk = BULK.get(short.type)
    return bits_per_weight(bulk) if bulk in LADDER else short.bits_per_weight


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
    # Cache, activations and reserve take the rest; where the runtime unpacks every type, memory is the same for every mix.
    if choice.budget_bytes is not None and not choice.chosen.held_bytes:
        limits.append(choice.budget_bytes - (choice.chosen.total_bytes - choice.chosen.weights_bytes))
    return int(min(limits))
