"""What a run updates: the locked run before it, with the numbers the new ones are shown beside."""

from __future__ import annotations

from typing import Literal

from quantplay.records.base import Digest, Record


class EarlierSlice(Record):
    """One gated quantity as the earlier run decided it."""

    slice: str
    metric: Literal["score", "gold_loss"]
    unit: str  # points | nats
    baseline: float  # full precision then: points (0 to 100) or nats
    candidate: float  # quantized then
    drop: float  # positive is worse


class Update(Record):
    """The locked run that another one updates: same data, harness, envelope and gate, another model."""

    run: str  # its id
    plan: Digest
    model: Digest  # the weights it quantized
    type: str  # the serving type it locked, which the update tries first
    decision: Digest  # key of its decision
    manifest: Digest  # of its package
    slices: tuple[EarlierSlice, ...]
