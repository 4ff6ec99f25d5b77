"""What one model did: answers, divergence, speed, memory."""

from __future__ import annotations

from pydantic import Field

from quantplay.records.base import Arm, Digest, Record, Split


class ItemResult(Record):
    """One evaluation item answered by one arm."""

    id: str
    slice: str
    cluster: str  # source document; items of one document are not independent
    score: float = Field(ge=0, le=1)
    graded: bool = False  # False: right or wrong
    response: str  # what the model said, whole
    gold_loss_nats: float | None = None  # mean loss of the expected answer's tokens; only where asked for


class ArmRun(Record):
    """One model in one runtime over one split of the evaluation set."""

    later = frozenset({"prompts", "tokens", "serving"})

    arm: Arm
    runtime: str  # transformers | llama.cpp | llama.cpp-server | vllm
    precision: str  # float32, bfloat16, Q4_K_M ...
    model: Digest  # content digest of the weights that ran
    split: Split
    harness: Digest
    items: tuple[ItemResult, ...]
    seconds: float
    peak_resident_bytes: int  # of the child process that ran it
    prompts: Digest | None = None  # of every request as the runtime got it, in whatever order
    tokens: Digest | None = None  # of the same requests' token ids
    serving: dict[str, str] = Field(
        default={}
    )  # how the runtime said it was set up: cache types, attention, a server's version ...

    def scores(self) -> dict[str, float]:
        """Mean score a slice, in the order of first appearance."""
        by_slice: dict[str, list[float]] = {}
        for item in self.items:
            by_slice.setdefault(item.slice, []).append(item.score)
        return {name: sum(values) / len(values) for name, values in by_slice.items()}


class Divergence(Record):
    """Candidate against reference over held-out text, at every scored position. Alarms, never a verdict."""

    later = frozenset({"measured_in"})

    tokens: int
    mean_kl_nats: float
    mean_kl_se: float
    p99_kl_nats: float
    max_kl_nats: float
    top1_agreement: float
    top1_se: float
    perplexity_reference: float
    perplexity_candidate: float
    log_perplexity_ratio_se: float
    measured_in: str | None = (
        None  # the runtime in process, where the one that serves does not tell whole distributions
    )


class Spread(Record):
    """Median and 95th percentile over repeats."""

    p50: float
    p95: float


class Performance(Record):
    """Speed at the plan's context and batch, and memory; measured alone, interleaved with the other arm.

    In process, or as `batch` clients of a server see it: then the first token includes waiting for one's turn.
    """

    later = frozenset({"device_bytes"})

    context_tokens: int
    batch: int  # concurrent sequences
    threads: int
    repeats: int
    time_to_first_token_ms: Spread
    time_per_token_ms: Spread  # a sequence, while `batch` sequences decode together
    prompt_tokens_per_second: float
    generated_tokens_per_second: float  # all sequences together
    weights_bytes: int
    cache_bytes: int  # key-value cache at this context and batch
    peak_resident_bytes: int  # of a server: of its process and all it started
    device_bytes: int | None = None  # of an accelerator, where a server runs on one

    @property
    def peak_bytes(self) -> int:
        """Where the weights lie: on the accelerator where there is one."""
        return self.peak_resident_bytes if self.device_bytes is None else self.device_bytes


class NoiseFloor(Record):
    """The baseline against itself with another batch size, item order and thread count."""

    changed: str  # what was varied, in words
    items: int
    flip_rate: float  # share of items whose score changed
    max_drop_points: dict[str, float]  # a slice: absolute difference of the means
