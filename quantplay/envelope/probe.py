"""How fast this machine is, in about two seconds: reading memory, and multiplying with the kernels of llama.cpp that will serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from quantplay.envelope.hardware import read_hardware
from quantplay.records import KernelRate, Machine

CACHED_BYTES = 2 << 20  # of weights that are multiplied over and over: fit in the cache of any core that serves
FEWEST_STREAMED = 48 << 20
MOST_STREAMED = 256 << 20
STREAM_CACHES = 1.5  # times the last cache, so that next to nothing of a pass is left from the one before
MOST_STREAMED_TOKENS = 16  # with more the memory hides behind the arithmetic
BLOCK = 256  # the largest of any ggml type
MOST_COLUMNS = 4096
NO_CACHE_TOLD = 32 << 20
ATTENDING = (1, 64)  # tokens at a time: generating, and reading a prompt
PLAIN = ("F32",)  # what every candidate is compared with
PROMPT_TOKENS = 64  # at a time: from there on a prompt costs in proportion
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
SOURCE = "measured: matrices of made-up weights multiplied by llama.cpp's own kernels, from memory and from the cache"


def probe_job(payload: dict[str, Any], _report: object) -> dict[str, Any]:
    """Job: `kinds` (ggml types), `batches` (tokens at a time), `hidden`, `head_dim`, `threads` -> body of Machine."""
    return probe(**payload).body()


def probe(
    kinds: Sequence[str], batches: Sequence[int], *, hidden: int, head_dim: int, threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Machine:  # fmt: skip
    """Time every ggml type of `kinds` at every number of tokens in `batches`, and attention with heads of `head_dim`,
    all with matrices of about `hidden` columns: short rows cost more.

    Nothing else should run meanwhile; clock: time.process_time for one thread on a machine that others use too.
    """
    from quantplay.engines.ggml import layout
    from quantplay.engines.ggml_rates import Kernels

    hardware, last, columns = read_hardware(), last_cache(), min(MOST_COLUMNS, -(-hidden // BLOCK) * BLOCK)
    together = sorted({1, *(batch for batch in batches if batch <= MOST_STREAMED_TOKENS)})
    streamed_bytes = min(MOST_STREAMED, max(FEWEST_STREAMED, int(STREAM_CACHES * last)))
    rates = {}
    with Kernels(threads, clock) as kernels:
        node = kernels.node_seconds()
        attention = {
            str(tokens): 1e12 * kernels.attention_seconds(heads=8, shared=2, head_dim=head_dim, past=256, tokens=tokens)
            for tokens in ATTENDING
        }  # fmt: skip
        for kind in dict.fromkeys((*PLAIN, *kinds)):
            _, block, size = layout(kind)
            cached = kernels.seconds(kind, CACHED_BYTES, sorted({1, PROMPT_TOKENS, *batches}), columns=columns)
            streamed = kernels.seconds(kind, streamed_bytes, together, columns=columns)
            rates[kind] = KernelRate(
                bits=8 * size / block,
                streamed_ps={str(batch): 1e12 * seconds for batch, seconds in streamed.items()},
                cached_ps={str(batch): 1e12 * seconds for batch, seconds in cached.items()},
                repacked=kernels.is_repacked(kind),
            )
    return Machine(
        name=hardware.cpu, source=SOURCE, measured=True, threads=threads, bandwidth_gb_s=bandwidth(rates.values()),
        gflops={kind: gflops(rates[kind]) for kind in rates}, cache_bytes=last, node_us=1e6 * node,
        memory_bytes=hardware.memory_bytes, attention_ps=attention, kernels=rates,
    )  # fmt: skip


def bandwidth(rates: Iterable[KernelRate]) -> float:
    """10^9 bytes a second of the type that streams fastest: the others are held up by unpacking."""
    return max(1000 * rate.bits / 8 / rate.streamed_ps["1"] for rate in rates)


def gflops(rate: KernelRate) -> float:
    """10^9 operations a second, a multiplication and an addition a weight and token, at the best number of tokens."""
    return max(2000 * int(batch) / picoseconds for batch, picoseconds in rate.cached_ps.items())


def last_cache(folder: Path = CACHES) -> int:
    """Bytes of the largest cache the system tells of."""
    found = [size_of(path) for path in folder.glob("index*/size")]
    return max(found, default=0) or NO_CACHE_TOLD


def size_of(path: Path) -> int:
    text = path.read_text(encoding="ascii").strip()
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    number, unit = text.rstrip("KMG"), text[-1:]
    return int(number) * units.get(unit, 1) if number.isdigit() else 0
