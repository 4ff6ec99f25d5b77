"""How much memory a run's plays will need at their peak, before any of them starts. A process that the system kills says nothing."""

from __future__ import annotations

from quantplay.envelope.hardware import read_memory
from quantplay.envelope.memory import cache_bytes, estimate, inner
from quantplay.envelope.planner import FULL, memory_of
from quantplay.envelope.runtimes import runtime_of
from quantplay.envelope.shape import ModelShape
from quantplay.errors import InputError
from quantplay.plan import Envelope
from quantplay.records import TrainingSettings

GIB = 2**30
EVALUATED_TOGETHER = 64  # prompts, in both runtimes
WIDTH = 4  # bytes a number of what transformers computes with
STATES = 8  # of the hidden state's size a token, kept while a prompt is read
TRAINER_BYTES = 520 * 2**20  # Python with torch and transformers, and no model
COPIES = 8.5  # student, teacher, master weights, gradients, two moments, the best so far, and rounding on its way
COPIES_BESIDE_GPU = 6  # a checkpoint's four, and rounding, which is done on the processor
KEPT_HIDDEN, KEPT_INNER, KEPT_LOGITS = 14, 4, 5  # numbers a token: of a layer's two sizes, of the vocabulary's
PAIR_BYTES = 40  # for every two positions of a row, while the mask is made
TRAINING_SPARE = 1.08
SCANNED_TOGETHER = 8  # rows of held-out text at a time
SIMULATED_BYTES = 2**31  # of weights of all types that are kept for the next use
DISTRIBUTIONS_BYTES = 36  # for every position and word: two in float64, and what is between logits and their divergence


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
        shape,
        kind,
        context_tokens=envelope.context_tokens,
        batch=EVALUATED_TOGETHER,
        importance=False,
        cache_type=envelope.cache_type,
    ).total_bytes


def evaluation_bytes(shape: ModelShape, envelope: Envelope, kind: str) -> int:
    """Play 4: full precision and the candidate side by side, because their speed is measured in turns; or one that answers."""
    if envelope.runtime != "llama.cpp":
        return baseline_bytes(shape, envelope)
    pair = sum(memory_of(shape, one, envelope, None).total_bytes for one in (FULL["llama.cpp"], kind))
    return max(pair, answering_bytes(shape, envelope, kind))


def training_bytes(shape: ModelShape, settings: TrainingSettings) -> int:
    """Play 6, from above: what grows with the weights, and what a step's rows leave behind for the way back.

    Measured on models of 0.2 to 26 million weights (tests/harness/test_training_memory.py). On a GPU: of the machine, not the device.
    """
    copies = COPIES_BESIDE_GPU if settings.device == "cuda" else COPIES
    total = TRAINER_BYTES + WIDTH * copies * shape.weights
    if settings.device != "cuda":
        rows = min(settings.micro_rows or settings.rows, settings.rows)
        tokens = rows * settings.row_tokens
        layer = KEPT_HIDDEN * shape.hidden + KEPT_INNER * inner(shape)
        block = layer + shape.layers * shape.hidden if settings.gradient_checkpointing else shape.layers * layer
        total += WIDTH * tokens * (block + KEPT_LOGITS * shape.vocabulary) + PAIR_BYTES * tokens * settings.row_tokens
    return int(TRAINING_SPARE * total)


def scan_bytes(shape: ModelShape, *, sequences: int, tokens: int, types: int) -> int:
    """Play 5's scan: the model, simulated weights of every type, what is kept of two models to restart from, and two distributions.

    `types`: that a group may take. Measured on models of 0.2 to 26 million weights (tests/harness/test_scan_memory.py).
    """
    weights = WIDTH * shape.weights
    rows, positions = min(SCANNED_TOGETHER, sequences), tokens // 2
    total = TRAINER_BYTES + 2 * weights + min(SIMULATED_BYTES, types * weights)
    total += 2 * WIDTH * (shape.layers + 1) * sequences * tokens * shape.hidden
    total += rows * positions * shape.vocabulary * DISTRIBUTIONS_BYTES
    total += WIDTH * types * rows * tokens * (STATES * shape.hidden + 3 * inner(shape))
    return int(total)


def free_bytes() -> int:
    """Memory a new process can have without swapping: of the machine, or of what is left of the container's limit."""
    import psutil

    here = psutil.virtual_memory()
    return min(int(here.available), read_memory() - (int(here.total) - int(here.available)))


LESS = "stop what else runs, lower envelope.context_tokens or envelope.batch, or use a machine with more memory"
LESS_TO_TRAIN = (
    "stop what else runs, set training.micro_rows or training.gradient_checkpointing, or use a machine with more memory"
)

LESS_TO_SCAN = (
    "stop what else runs, lower mixed_precision.tokens or mixed_precision.sequences, or use a machine with more memory"
)


def require_memory(play: str, needed: int, free: int | None = None, *, fix: str = LESS) -> None:
    """Raise InputError where a play that needs so many bytes at its peak would not fit into what is free here."""
    free = free_bytes() if free is None else free
    if needed > free:
        raise InputError(
            f"this machine has too little memory for the play {play}",
            value=f"about {needed / GIB:,.1f} GiB needed at its peak, {free / GIB:,.1f} GiB free",
            fix=fix,
        )
