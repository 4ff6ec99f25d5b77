"""Too aggressive too soon: fewer bits, or more of the model at once, than anything on record justifies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from quantplay.audit.facts import Facts, bits_of
from quantplay.audit.mistakes.budget import limitless
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.records import Artifact, SignOff

BITS = 4  # P3.1: the fewest without a plan for training
LARGEST_GROUP = 128
SENSITIVE = re.compile(
    r"^(output|token_embd)\.weight$|lm_head|embed_(tokens|out)|word_embeddings|ffn_gate_inp|router|(mlp|moe)\.gate\.(weight|linear)"
)
"""Tensors every wrong choice of which costs more than its bytes are worth: output matrix, embedding, router of experts."""
NAMES = (
    "output.weight", "token_embd.weight", "blk.0.ffn_gate_inp.weight", "lm_head.weight", "model.embed_tokens.weight",
    "model.layers.0.mlp.gate.weight",
)  # fmt: skip
"""One of each kind, to see what a recipe's override would take."""
GGML = re.compile(r"^I?T?Q(\d)")  # Q4_K, IQ2_XS, TQ1_0
FIX = "start with 4 bits: envelope.types [Q4_K_M] or [W4A16], then quantplay run PLAN"


def signs(facts: Facts) -> Iterator[Sign]:
    waived = facts.waiver("envelope.types", "envelope.bits", "standards.bits", "standards.types")
    for sign in (*few_bits(facts), *much_at_once(facts), *sensitive(facts)):
        yield Sign(why=sign.why, evidence=sign.evidence, fix=sign.fix, waived=waived)


def signed_case(facts: Facts) -> SignOff | None:
    """The manager's approval of what this training costs: the newest word counts."""
    told = [one for one in facts.signoffs if one.stage == "training"]
    if not told or told[-1].verdict != "approve":
        return None
    case = facts.plan.business_case if facts.plan is not None else None
    return told[-1] if case is None or told[-1].business_case in (None, case.digest()) else None


def stored_below(artifact: Artifact) -> str | None:
    """What most matrices are stored as, where that is below 4 bits."""
    kinds = {name: bits for name, kind in artifact.tensors.items() if (bits := stored_bits(kind)) is not None}
    few = [name for name, bits in kinds.items() if bits < BITS]
    return (
        f"{len(few)} of {len(kinds)} quantized matrices are stored in fewer than {BITS} bits"
        if 2 * len(few) > len(kinds)
        else None
    )


def missing(facts: Facts) -> str | None:
    """What a plan has to say before anything has fewer bits (P3.1) and this one does not."""
    plan = facts.plan
    if plan is None or plan.business_case is None or plan.training is None:
        return "without a business case and a plan for training (play 6)"
    return "without a quality budget: the gate has no tolerance to speak of" if limitless(plan) else None


def few_bits(facts: Facts) -> Iterator[Sign]:
    recipe, artifact = facts.recipe, facts.artifact
    if recipe is not None:
        bits = bits_of(recipe.type, recipe.bits_per_weight)
        if facts.mixed and artifact is not None:
            bits = max(bits, artifact.bits_per_weight)  # most of it, or all of it together: play 5 measured the rest
        elif artifact is not None and recipe.type == artifact.type:
            bits = min(bits, recipe.bits_per_weight, artifact.bits_per_weight)
        elif artifact is not None:
            bits = min(bits, bits_of(artifact.type, artifact.bits_per_weight), recipe.bits_per_weight)
        if bits < BITS:
            yield from unjustified(facts, f"{recipe.type} has {bits:g} bits a weight", facts.trained)
            return
        if artifact is not None and not facts.mixed and (few := stored_below(artifact)):
            yield from unjustified(facts, f"{recipe.type} by name, but {few}", facts.trained)
            return
    first = facts.tried[0] if facts.tried else None
    if first is None or facts.locked or (artifact is not None and first.sha256 == artifact.sha256):
        return  # what ships has 4 bits or more: the way there is history
    if bits_of(first.type, first.bits_per_weight) < BITS and (without := missing(facts)):
        yield Sign(
            why=f"{first.type} was tried first, {without}.", fix=FIX,
            evidence=(facts.shows("tried", f"first artifact: {first.type}, {first.bits_per_weight:g} bits"),),
        )  # fmt: skip


def unjustified(facts: Facts, what: str, trained: bool) -> Iterator[Sign]:
    shown = (facts.shows("recipe", what),)
    if trained:
        signed = signed_case(facts)
        if signed is None:
            yield Sign(
                why=f"{what}, and nobody signed what its training costs.", evidence=shown,
                fix="quantplay sign RUN --role engineering_manager, before anything is trained",
            )  # fmt: skip
        if facts.training is not None and facts.training.chosen_step == 0:
            yield Sign(
                why=f"{what}, and of its training no step was better than none: it is rounded as untrained weights are.", fix=FIX,
                evidence=(facts.shows("training", f"chosen step 0 of {facts.training.steps_done}"),),
            )  # fmt: skip
    elif without := missing(facts):
        yield Sign(why=f"{what}, less than {BITS}, {without}.", evidence=shown, fix=FIX)


def much_at_once(facts: Facts) -> Iterator[Sign]:
    """Weights and activations together, and groups larger than usual."""
    recipe = facts.recipe
    if recipe is None:
        return
    bits = bits_of(recipe.type, recipe.bits_per_weight)
    if recipe.bits_activations < 8 or (recipe.bits_activations < 16 and bits < 8):
        yield Sign(
            why=f"Weights of {bits:g} bits and activations of {recipe.bits_activations} at once: which of them costs what was never seen.",
            evidence=(facts.shows("recipe", f"{recipe.type}, activations {recipe.bits_activations} bits"),),
            fix="weights alone first (W4A16), then quantplay run PLAN",
        )  # fmt: skip
    if bits <= BITS and recipe.type != "TQ1_0" and not 0 < recipe.group_size <= LARGEST_GROUP:
        groups = f"groups of {recipe.group_size}" if recipe.group_size else "one scale a row"
        yield Sign(
            why=f"{recipe.type} with {groups}: at {bits:g} bits {LARGEST_GROUP} weights a scale are the most.",
            evidence=(facts.shows("recipe", f"group size {recipe.group_size}"),), fix="group size 128, or 64; then quantplay run PLAN",
        )  # fmt: skip


def sensitive(facts: Facts) -> Iterator[Sign]:
    """The matrices known to suffer most, below what the rest has or below 4 bits, without a scan that says they may be."""
    artifact, recipe = facts.artifact, facts.recipe
    if artifact is None or recipe is None or facts.mixed or facts.trained:
        return
    bulk = bits_of(recipe.type, recipe.bits_per_weight)
    if bulk < BITS:  # said already
        return
    low = {
        name: kind
        for name, kind in artifact.tensors.items()
        if SENSITIVE.search(name) and is_low(kind, bulk, folder=artifact.format != "gguf")
    }
    overridden = {
        pattern: kind
        for pattern, kind in recipe.tensor_types.items()
        if is_low(kind, bulk, folder=artifact.format != "gguf") and any(takes(pattern, name) for name in NAMES)
    }
    found = low | overridden
    if found:
        told = ", ".join(f"{name} {kind}" for name, kind in sorted(found.items()))
        yield Sign(
            why=f"Matrices that suffer most have fewer bits than the rest: {told}; no sensitivity was measured that allows it.",
            evidence=(facts.shows("artifact", told),), fix="leave them at the format's own precision, or let play 5 measure (a second attempt)",
        )  # fmt: skip


def takes(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return pattern in name


def is_low(kind: str, bulk: float, *, folder: bool) -> bool:
    """Below 4 bits or below the bulk; in a folder, where these stay in full precision, any quantized type of 4 bits or fewer."""
    bits = stored_bits(kind)
    return bits is not None and (bits < BITS or bits < bulk or (folder and bits <= BITS))


def stored_bits(kind: str) -> float | None:
    if found := GGML.match(kind):
        return float(found[1])
    named = re.match(r"^(?:W|INT|U?I|GPTQ_INT|NF)(\d+)", kind)
    return float(named[1]) if named else None


def kinds_missing(facts: Facts) -> str | None:
    if facts.tried_gone:
        return f"{facts.tried_gone} artifact of the run is not recorded any more; it would tell what was tried first."
    return None


def needs(facts: Facts) -> tuple[str, ...]:
    return ("plan", "recipe", "artifact") + (("training", "signoffs") if facts.trained else ())


TOO_AGGRESSIVE = Classic(
    name="too_aggressive_too_soon", question="Was it no more aggressive than what is on record justifies?", owner="ml_engineer",
    signs=signs, needs=needs, also=kinds_missing,
)  # fmt: skip
