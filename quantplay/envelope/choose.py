"""Play 2: from the plan's envelope backward to the type that is tried first. Four bits unless the plan says otherwise."""

from __future__ import annotations

from pathlib import Path

from quantplay.envelope.memory import MemoryEstimate, estimate
from quantplay.envelope.shape import ModelShape, read_shape
from quantplay.errors import Fault, InputError
from quantplay.formats import TYPES, ServingType, types_of
from quantplay.plan import Envelope
from quantplay.records import Candidate, EnvelopeChoice, Fingerprint, Update

MIB = 2**20
DEFAULT_ORDER = ("Q4_K_M", "IQ4_XS", "Q4_K_S", "IQ4_NL", "Q4_0")
"""Four bits: best quality first. IQ4_XS is the smallest; the last two have blocks of 32 for models with odd row sizes."""


def choose(
    envelope: Envelope, model_folder: Path, fingerprint: Fingerprint, update: Update | None = None
) -> EnvelopeChoice:
    """Rank the types `envelope` allows for the model in `model_folder`; rank 1 is tried first.

    update: the run whose choice under this envelope is used again: the type it locked comes before the others.

    Types that fit every budget come before types that do not, otherwise the plan's order holds. Where none fits, `chosen.fits`
    is False and the run ends as "envelope missed". Raises InputError on a type the runtime does not have.
    """
    wanted = envelope.types or DEFAULT_ORDER
    require_known(wanted, envelope.runtime)
    shape = read_shape(model_folder)
    estimates = {
        kind: estimate(
            shape,
            kind,
            context_tokens=envelope.context_tokens,
            batch=envelope.batch,
            importance=uses_importance(TYPES[kind]),
        )
        for kind in dict.fromkeys(wanted)
    }
    misses = {kind: missed_budgets(envelope, found) for kind, found in estimates.items()}

    def order(kind: str) -> tuple[bool, bool, bool]:
        # The plan's own order is not touched by block sizes; ours prefers types that reach every matrix.
        locked_before = update is not None and kind == update.type
        return bool(misses[kind]), not locked_before, not envelope.types and bool(estimates[kind].fallbacks)

    ranked = sorted(estimates, key=order)
    candidates = tuple(
        candidate(kind, rank, estimates[kind], misses[kind], shape) for rank, kind in enumerate(ranked, start=1)
    )
    return EnvelopeChoice(
        runtime=envelope.runtime,
        chosen=candidates[0],
        candidates=candidates,
        budget_bytes=int(envelope.memory_mib * MIB) if envelope.memory_mib else None,
        bottleneck=envelope.bottleneck,
        reasons=(*reused(update, candidates), *reasons(envelope, shape, candidates[0])),
        fingerprint=fingerprint,
    )


def uses_importance(kind: ServingType) -> bool:
    """At 4 bits and below the calibration data steers the rounding; above it changes next to nothing."""
    return kind.needs_importance_matrix or kind.nominal_bits <= 4


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


def missed_budgets(envelope: Envelope, found: MemoryEstimate) -> tuple[str, ...]:
    """A clause for every budget this type misses."""
    missed = []
    if envelope.max_artifact_mib is not None and found.file_bytes > envelope.max_artifact_mib * MIB:
        missed.append(f"file of {mib(found.file_bytes)} is over max_artifact_mib {envelope.max_artifact_mib:g}")
    if envelope.memory_mib is not None and found.total_bytes > envelope.memory_mib * MIB:
        missed.append(f"{mib(found.total_bytes)} in use is over memory_mib {envelope.memory_mib:g}")
    return tuple(missed)


def candidate(kind: str, rank: int, found: MemoryEstimate, missed: tuple[str, ...], shape: ModelShape) -> Candidate:
    return Candidate(
        format=TYPES[kind].format,
        type=kind,
        bits_per_weight=round(found.bits_per_weight, 4),
        weights_bytes=found.weights_bytes,
        cache_bytes=found.cache_bytes,
        total_bytes=found.total_bytes,
        fits=not missed,
        rank=rank,
        reason=reason(kind, found, missed, shape),
    )


def reason(kind: str, found: MemoryEstimate, missed: tuple[str, ...], shape: ModelShape) -> str:
    saved = 1 - found.weights_bytes / shape.source_bytes
    change = f"{saved:.0%} less than" if saved >= 0 else f"{-saved:.0%} more than"
    text = (
        f"{found.bits_per_weight:.2f} bits a weight, file about {mib(found.file_bytes)}, "
        f"weights {change} the source's {mib(shape.source_bytes)}"
    )
    if found.fallbacks:
        text += (
            f"; {len(found.fallbacks)} matrices have rows that are no multiple of {TYPES[kind].block_size} "
            f"and fall back to a larger type (first: {found.fallbacks[0]})"
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


def reasons(envelope: Envelope, shape: ModelShape, first: Candidate) -> tuple[str, ...]:
    """Sentences on how the choice came about, the deciding one first."""
    said = []
    if first.fits:
        said.append(f"{first.type} is the first type in order that fits every budget.")
    else:
        said.append(f"No type fits; {first.type} comes first in order. {first.reason}.")
    if envelope.types:
        said.append(f"The plan gives the order: {', '.join(envelope.types)}.")
    else:
        said.append(f"The plan names no types, so 4 bits come first: {', '.join(DEFAULT_ORDER)}.")
    said.append(
        f"{shape.weights / 1e6:.2f} million weights; cache {mib(first.cache_bytes)} at {envelope.context_tokens} tokens and "
        f"{envelope.batch} {'sequence' if envelope.batch == 1 else 'sequences'}, {mib(first.total_bytes)} in all with working memory and reserve."
    )
    said.append(f"The bottleneck named in the plan is {envelope.bottleneck}; play 4 checks that this win materialised.")
    return tuple(said)


def mib(size: float) -> str:
    return f"{size / MIB:.2f} MiB" if size < 100 * MIB else f"{size / MIB:,.0f} MiB"
