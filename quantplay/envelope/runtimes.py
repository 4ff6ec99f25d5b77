"""What each serving runtime does with memory, as data."""

from __future__ import annotations

from dataclasses import dataclass

from quantplay.errors import InputError

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How a runtime serves. To add one: a row in `RUNTIMES`, and its formats in formats.FORMATS."""

    base_bytes: int  # of the process with no model
    padding: int  # tokens the cache of a sequence is rounded up to
    micro_batch: int  # tokens computed at once, at most
    windows: bool  # whether layers with a sliding window keep no more than it
    devices: tuple[str, ...]
    many: bool  # made for many requests at a time
    source: str
    together: int | None = None  # requests it works on at once; None: all that come
    token_ms: float = 0.0  # a token takes on its way to the client, beside the arithmetic

    def at_once(self, batch: int) -> int:
        """Of `batch` requests that come together, how many it works on."""
        return min(batch, self.together or batch)


RUNTIMES: dict[str, Runtime] = {
    "llama.cpp": Runtime(
        base_bytes=45 * MIB, padding=256, micro_batch=512, windows=False, devices=("cpu", "gpu"), many=False,
        source="measured: Python with llama.cpp's libraries and no model; defaults of llama.h (n_ubatch, swa_full)",
    ),
    "llama.cpp-server": Runtime(
        base_bytes=78 * MIB, padding=256, micro_batch=512, windows=False, devices=("cpu", "gpu"), many=False, together=1,
        token_ms=1.1,
        source="measured: llama-cpp-python's server, less the model, its cache and its working memory",
    ),
    "transformers": Runtime(
        base_bytes=485 * MIB, padding=1, micro_batch=1 << 20, windows=True, devices=("cpu", "gpu"), many=False,
        source="measured: Python with torch and transformers imported and no model",
    ),
    "vllm": Runtime(
        base_bytes=164 * MIB, padding=16, micro_batch=8192, windows=True, devices=("gpu",), many=True,
        source="https://github.com/vllm-project/vllm/pull/13109 (non_torch_memory 0.16 GiB); blocks of 16 tokens, "
        "https://docs.vllm.ai/en/latest/configuration/engine_args.html",
    ),
}  # fmt: skip


def runtime_of(name: str) -> Runtime:
    if name not in RUNTIMES:
        raise InputError("no such serving runtime", value=name, allowed=", ".join(RUNTIMES))
    return RUNTIMES[name]
