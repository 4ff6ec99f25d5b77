"""Play 2: from the plan's envelope backward to the type that is tried first. Four bits unless the plan says otherwise."""

from __future__ import annotations

from pathlib import Path

from quantplay.envelope.chips import Chip
from quantplay.envelope.memory import MemoryEstimate
from quantplay.envelope.planner import (
    FULL,
    balance_sentence,
    cost_of,
    memory_of,
    missed_targets,
    predict,
    predicted_words,
    speed_class,
    uses_importance,
)
from quantplay.envelope.shape import ModelShape, read_shape
from quantplay.envelope.wrong_move import wrong_moves
from quantplay.errors import Fault, InputError
from quantplay.formats import TYPES, types_of
from quantplay.plan import BusinessCase, Envelope, Gate
from quantplay.records import Candidate, EnvelopeChoice, Fingerprint, Machine, Update

__all__ = ["DEFAULT_ORDER", "choose", "order_for", "uses_importance"]

MIB = 2**20
DEFAULT_ORDER = ("Q4_K_M", "IQ4_XS", "Q4_K_S", "IQ4_NL", "Q4_0")
"""Four bits: best quality first. IQ4_XS is the smallest; the last two have blocks of 32 for models with odd row sizes."""

ORDERS: dict[str, tuple[str, ...]] = {
    "llama.cpp": DEFAULT_ORDER,
    "llama.cpp-server": DEFAULT_ORDER,
    "vllm": ("W4A16", "W4A16_AWQ", "FP8_DYNAMIC", "W8A8", "W8A16", "GPTQ_INT4"),
    "transformers": ("GPTQ_INT4", "W4A16", "BNB_INT8"),
}
"""Runtime -> types it is tried with where the plan names none: 4 bits first."""


def order_for(runtime: str) -> tuple[str, ...]:
    return ORDERS.get(runtime, DEFAULT_ORDER)


def choose(
    envelope: Envelope,
    model_folder: Path,
    fingerprint: Fingerprint,
    update: Update | None = None,
    *,
    machine: Machine | None = None,
    chip: Chip | None = None,
    gate: Gate | None = None,
    case: BusinessCase | None = None,
    shape: ModelShape | None = None,
) -> EnvelopeChoice:
    """Rank the types `envelope` allows for the model in `model_folder`; rank 1 is tried first.

    update: the run whose choice under this envelope is used again: the type it locked comes before the others.
    machine: where speed is predicted for, with `chip` its row of the table; None: memory alone. gate, case: what else may speak
    against quantizing. shape: of the model, where it has been read.

    Types that fit every budget come before types that do not, otherwise the plan's order holds. Where none fits, `chosen.fits`
    is False and the run ends as "envelope missed". Raises InputError on a type the runtime does not have.
    """
    wanted = envelope.types or order_for(envelope.runtime)
    require_known(wanted, envelope.runtime)
    shape = shape or read_shape(model_folder)

    def considered(kind: str) -> Candidate:
        found = memory_of(shape, kind, envelope, machine)
        predicted = predict(shape, kind, envelope, machine, chip, found) if machine else None
        missed = missed_budgets(envelope, found, machine)
        return candidate(kind, found, missed, shape).model_copy(update={"prediction": predicted})

    full = considered(FULL[envelope.runtime])
    made = {kind: considered(kind) for kind in dict.fromkeys(wanted)}
    short = {kind: missed_targets(envelope, one.prediction) for kind, one in made.items()}
    fall_back = {kind: bool(memory_of(shape, kind, envelope, machine).fallbacks) for kind in made}
    best = min((cost for one in made.values() if (cost := cost_of(envelope.bottleneck, one)) is not None), default=0.0)

    def order(kind: str) -> tuple[bool, bool, bool, bool, bool, int]:
        # The plan's own order is touched by budgets and targets only; ours also prefers types that reach every matrix, run
        # natively and win what is to be won.
        one = made[kind]
        locked_before = update is not None and kind == update.type
        if envelope.types:
            return not one.fits, not locked_before, bool(short[kind]), False, False, 0
        native = one.prediction is None or one.prediction.native
        return (
            not one.fits, not locked_before, bool(short[kind]), fall_back[kind], not native,
            speed_class(envelope.bottleneck, one, best),
        )  # fmt: skip

    candidates = tuple(
        made[kind].model_copy(
            update={
                "rank": rank,
                "reason": "; ".join((made[kind].reason, *short[kind]))
                + predicted_words(made[kind].prediction, full.prediction),
            }
        )
        for rank, kind in enumerate(sorted(made, key=order), start=1)
    )
    return EnvelopeChoice(
        runtime=envelope.runtime,
        chosen=candidates[0],
        candidates=candidates,
        budget_bytes=int(envelope.memory_mib * MIB) if envelope.memory_mib else None,
        bottleneck=envelope.bottleneck,
        reasons=(*reused(update, candidates), *reasons(envelope, shape, candidates[0], machine)),
        fingerprint=fingerprint,
        machine=machine,
        full_precision=full.model_copy(update={"rank": 0}) if machine else None,
        wrong_moves=wrong_moves(envelope, gate, case, full, candidates) if machine else (),
    )


def require_known(wanted: tuple[str, ...], runtime: str) -> None:
    allowed = types_of(runtime)
    faults = [
        Fault(
            where=f"envelope.types[{index}]", what=f"{runtime} has no such type", value=kind, allowed=", ".join(allowed)
        )
        for index, kind in enumerate(wanted)
        if kind not in allowed
    ]
    if faults:
        raise InputError("the plan names serving types that can't be built", faults=faults)


def missed_budgets(envelope: Envelope, found: MemoryEstimate, machine: Machine | None = None) -> tuple[str, ...]:
    """A clause for every budget this type misses."""
    missed = []
    if envelope.max_artifact_mib is not None and found.file_bytes > envelope.max_artifact_mib * MIB:
        missed.append(f"file of {mib(found.file_bytes)} is over max_artifact_mib {envelope.max_artifact_mib:g}")
    if envelope.memory_mib is not None and found.total_bytes > envelope.memory_mib * MIB:
        missed.append(f"{mib(found.total_bytes)} in use is over memory_mib {envelope.memory_mib:g}")
    if machine is not None and machine.memory_bytes and found.total_bytes > machine.memory_bytes:
        missed.append(f"{mib(found.total_bytes)} in use is over the {mib(machine.memory_bytes)} of {machine.name}")
    return tuple(missed)


def candidate(kind: str, found: MemoryEstimate, missed: tuple[str, ...], shape: ModelShape) -> Candidate:
    return Candidate(
        format=TYPES[kind].format,
        type=kind,
        bits_per_weight=round(found.bits_per_weight, 4),
        weights_bytes=found.weights_bytes,
        cache_bytes=found.cache_bytes,
        total_bytes=found.total_bytes,
        fits=not missed,
        rank=1,
        reason=reason(kind, found, missed, shape),
        held_bytes=found.held_bytes if found.held_bytes != found.weights_bytes else 0,
    )


def reason(kind: str, found: MemoryEstimate, missed: tuple[str, ...], shape: ModelShape) -> str:
    saved = 1 - found.weights_bytes / shape.source_bytes
    change = f"{saved:.0%} less than" if saved >= 0 else f"{-saved:.0%} more than"
    text = (
        f"{found.bits_per_weight:.2f} bits a weight, file about {mib(found.file_bytes)}, "
        f"weights {change} the source's {mib(shape.source_bytes)}"
    )
    if found.held_bytes > found.weights_bytes:
        text += f", unpacked to {mib(found.held_bytes)} in memory"
    if found.fallbacks:
        then = "fall back to a larger type" if TYPES[kind].format == "gguf" else "most kernels refuse"
        text += (
            f"; {len(found.fallbacks)} matrices have rows that are no multiple of {TYPES[kind].block_size}, which {then} "
            f"(first: {found.fallbacks[0]})"
        )
    return f"{text}; does not fit: {', '.join(missed)}" if missed else f"{text}; fits"


def reused(update: Update | None, candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    """A sentence on the choice of the run that is updated, and whether it holds for this model."""
    if update is None:
        return ()
    said = f"Run {update.run[:8]}, which this one updates, locked {update.type} under this very envelope"
    if candidates[0].fits and candidates[0].type == update.type:
        return (f"{said}, so it is tried first.",)
    return (f"{said}; it does not fit this model, so the others come first.",)


def reasons(envelope: Envelope, shape: ModelShape, first: Candidate, machine: Machine | None = None) -> tuple[str, ...]:
    """Sentences on how the choice came about, the deciding one first."""
    said = []
    if first.fits:
        said.append(f"{first.type} is the first type in order that fits every budget.")
    else:
        said.append(f"No type fits; {first.type} comes first in order. {first.reason}.")
    if envelope.types:
        said.append(f"The plan gives the order: {', '.join(envelope.types)}.")
    else:
        said.append(f"The plan names no types, so 4 bits come first: {', '.join(order_for(envelope.runtime))}.")
    if machine is not None and first.prediction is not None:
        said.append(balance_sentence(machine, first.prediction))
    said.append(
        f"{shape.weights / 1e6:.2f} million weights; cache {mib(first.cache_bytes)} at {envelope.context_tokens} tokens and "
        f"{envelope.batch} {'sequence' if envelope.batch == 1 else 'sequences'}, {mib(first.total_bytes)} in all with working memory and reserve."
    )
    said.append(f"The bottleneck named in the plan is {envelope.bottleneck}; play 4 checks that this win materialised.")
    return tuple(said)


def mib(size: float) -> str:
    return f"{size / MIB:.2f} MiB" if size < 100 * MIB else f"{size / MIB:,.0f} MiB"
