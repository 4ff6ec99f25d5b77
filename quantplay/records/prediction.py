"""What play 2 predicts of a machine and of every candidate, before anything is built."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from quantplay.records.base import Record

Bound = Literal["memory bandwidth", "compute", "overhead"]


class KernelRate(Record):
    """How fast one stored type is multiplied."""

    bits: float  # a weight, as stored
    streamed_ps: dict[str, float]  # tokens at a time -> picoseconds a weight, the weights coming from memory
    cached_ps: dict[str, float]  # the same, the weights in the cache
    repacked: bool = False  # laid out anew while loading


class Machine(Record):
    """What decides speed on one chip: measured by a short probe, or taken from a table."""

    name: str
    source: str  # how the numbers came about
    measured: bool  # False: a chip that is not here, its datasheet's numbers
    threads: int  # 0: all there are
    bandwidth_gb_s: float  # of reading memory, in 10^9 bytes a second
    gflops: dict[str, float]  # arithmetic such as float32, bfloat16, int8, fp8 -> 10^9 operations a second
    cache_bytes: int  # of the last level
    node_us: float  # microseconds one step of the computation costs beside its arithmetic
    memory_bytes: int
    attention_ps: dict[str, float] = Field(
        default={}
    )  # tokens at a time -> picoseconds a query head, token and position of its past
    kernels: dict[str, KernelRate] = Field(default={})  # ggml type -> its rate; empty for a chip of the table


class Prediction(Record):
    """What a candidate will take and how fast it will be, at the plan's context and batch."""

    file_bytes: int
    activation_bytes: int
    reserve_bytes: int
    native: bool  # whether chip and runtime have kernels for it that use its low precision
    kernel: str  # which, in words
    time_to_first_token_ms: float
    time_per_token_ms: float  # a sequence, while `batch` sequences decode together
    tokens_per_second: float  # generated, all sequences together
    decode_bound: Bound
    prefill_bound: Bound
    decode_bytes: int  # read for one step
    decode_flops: float  # computed for one step
    shares: dict[str, float]  # of a decode step: milliseconds by what they are spent on
