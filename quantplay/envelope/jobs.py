"""How much memory a run's plays will need at their peak, before any of them starts. A process that the system kills says nothing."""

from __future__ import annotations

from quantplay.envelope.hardware import read_memory
from quantplay.envelope.memory import cache_bytes, estimate
from quantplay.envelope.planner import FULL, memory_of
from quantplay.envelope.runtimes import runtime_of
from quantplay.envelope.shape import ModelShape
from quantplay.errors import InputError
from quantplay.plan import Envelope

GIB = 2**30
EVALUATED_TOGETHER = 64  # prompts, in both runtimes
WIDTH = 4  # bytes a number of what transformers computes with
STATES = 8  # of the hidden state's size a token, kept while a prompt is read


def baseline_bytes(shape: ModelShape, envelope: Envelope) -> int:
    """Play 1: float32 weights in transformers, with the cache and the states of many prompts together; or the same in the runtime."""
    here = runtime_of("transformers").base_bytes + WIDTH * shape.weights
    here += cache_bytes(
        shape,
        context_tokens=envelope.context_tokens,
        batch=EVALUATED_TOGETHER,
        cache_type="F32",
        windows=True,
        padding=1,
    )
    here += WIDTH * EVALUATED_TOGETHER * (2 * shape.vocabulary + STATES * envelope.context_tokens * shape.hidden)
    return max(here, answering_bytes(shape, envelope, FULL["llama.cpp"]))


def answering_bytes(shape: ModelShape, envelope: Envelope, kind: str) -> int:
    """A GGUF that answers many prompts together."""
    return estimate(
        shape, kind, context_tokens=envelope.context_tokens, batch=EVALUATED_TOGETHER, importance=False
    ).total_bytes


def evaluation_bytes(shape: ModelShape, envelope: Envelope, kind: str) -> int:
    """Play 4: full precision and the candidate side by side, because their speed is measured in turns; or one that answers."""
    if envelope.runtime != "llama.cpp":
        return baseline_bytes(shape, envelope)
    pair = sum(memory_of(shape, one, envelope, None).total_bytes for one in (FULL["llama.cpp"], kind))
    return max(pair, answering_bytes(shape, envelope, kind))


def free_bytes() -> int:
    """Memory a new process can have without swapping: of the machine, or of what is left of the container's limit."""
    import psutil

    here = psutil.virtual_memory()
    return min(int(here.available), read_memory() - (int(here.total) - int(here.available)))


def require_memory(play: str, needed: int, free: int | None = None) -> None:
    """Raise InputError where a play that needs so many bytes at its peak would not fit into what is free here."""
    free = free_bytes() if free is None else free
    if needed > free:
        raise InputError(
            f"this machine has too little memory for the play {play}",
            value=f"about {needed / GIB:,.1f} GiB needed at its peak, {free / GIB:,.1f} GiB free",
            fix="stop what else runs, lower envelope.context_tokens or envelope.batch, or use a machine with more memory",
        )
