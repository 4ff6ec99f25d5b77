"""What training the quantized model (play 6) was given and what came of it."""

from __future__ import annotations

from typing import Literal

from quantplay.records.base import Digest, Record

Precision = Literal["float32", "bfloat16"]
Objective = Literal["distill", "next token"]


class TrainingSettings(Record):
    """How one training goes. With the model, the data and the grids it determines the weights."""

    steps: int
    learning_rate: float  # peak; cosine to a fiftieth of it after the warm-up
    warmup: float = 0.05  # share of the steps
    rows: int = 24  # packed rows a step
    row_tokens: int = 256  # a longer text is cut there
    micro_rows: int | None = None  # rows a forward pass, where a step's rows don't fit the memory together; None: all
    gradient_checkpointing: bool = False  # blocks are computed again on the way back instead of kept
    checkpoint_every: int = 25  # steps; the dev text is measured then
    patience: int = 6  # measurements without an improvement until training stops
    seed: int = 0
    threads: int = 1
    objective: Objective = "distill"  # next token: what the control of a benchmark learns
    precision: Precision | None = None  # of the matrix products; None: bfloat16 where it is faster
    device: Literal["cpu", "cuda"] | None = None  # None: cuda where there is one


class CurvePoint(Record):
    """One measurement on the dev text."""

    step: int
    loss: float  # mean over the steps since the last point: KL from full precision, nats a token
    dev_kl_nats: (
        float  # at the positions that give the dev split's answers; with the objective `next token` the loss there
    )
    dev_top1: float  # share of those positions where both find the same token most likely


class Training(Record):
    """Play 6: master weights whose rounding is the artifact."""

    artifact: Digest  # sha256 of the file whose types a tensor were trained for
    model: Digest  # content of the full-precision model: start and teacher
    data: Digest  # content of the training file
    dev: Digest  # sha256 of the dev split, which chose the step
    settings: TrainingSettings
    precision: Precision  # as it was
    device: str  # cpu, or the accelerator's name
    kinds: dict[str, str]  # tensor of the served file -> type simulated
    texts: int
    tokens: int  # of the data, as far as it is read
    tokens_seen: int
    curve: tuple[CurvePoint, ...]  # the first one is the rounded full-precision model, before any step
    steps_done: int
    chosen_step: int  # whose weights these are: the smallest divergence on the dev text
    stopped_early: bool
    weights: Digest  # sha256 of the master weights' file
    size_bytes: int
    seconds: float  # over all processes that worked on it
    peak_resident_bytes: int
    peak_device_bytes: int = 0
    micro_rows: int | None = None  # rows at once, where memory did not hold as many as the settings ask for

    later = frozenset({"micro_rows", "peak_device_bytes"})

    @property
    def chosen(self) -> CurvePoint:
        return next(point for point in self.curve if point.step == self.chosen_step)
