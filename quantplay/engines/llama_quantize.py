"""llama.cpp's own quantizer, called in process: importance matrix, a type for single tensors, metadata, errors in words.

The C function answers only 0 or 1; why it refused goes to its log, which is read here. Field by field the structs are those
of llama.h: arrays end with an entry of zeros, and all of them have to stay alive during the call.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.engines import llama_log
from quantplay.engines.whole_file import out_of_space
from quantplay.errors import InputError, QuantplayError

Progress = Callable[[int, int, str], None]
STEP = re.compile(r"\[\s*(\d+)/\s*(\d+)\]\s+(\S+)")  # "[   3/  38]  blk.0.ffn_down.weight - [...]"
FAILED = re.compile(r"failed to quantize: (.*)")
MAX_METADATA_BYTES = 127  # llama_model_kv_override holds 128 with the closing zero


def quantize_file(
    source: Path,
    out: Path,
    *,
    ftype: int,
    threads: int,
    importance: Mapping[str, np.ndarray] | None = None,
    tensor_types: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Write `source` (GGUF in full precision) to `out` as the mix `ftype` (enum llama_ftype).

    importance: tensor name -> mean of squared inputs, float32, one value a column. tensor_types: exact tensor name -> ggml type
    name such as Q6_K. metadata: key -> text of at most 127 bytes, added to the file's header. The bytes do not depend on
    `threads`. `out` may be left incomplete by an error: write to a temporary name. Raises InputError with llama.cpp's own
    reason, OutOfSpace on a full disk.
    """
    import llama_cpp

    library: Any = llama_cpp  # its type hints know pointers only, where ctypes also takes arrays
    params = library.llama_model_quantize_default_params()
    params.ftype = ftype
    params.nthread = threads
    keep = [importance_entries(importance or {}), type_entries(tensor_types or {}), metadata_entries(metadata or {})]
    if importance:
        params.imatrix = keep[0]
    if tensor_types:
        params.tt_overrides = keep[1]
    if metadata:
        params.kv_overrides = keep[2]
    with quantizer_log(on_progress) as lines:
        code = library.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(params))
    if code != 0:
        raise failure(source, out, "".join(lines))


def importance_entries(importance: Mapping[str, np.ndarray]) -> ctypes.Array:
    import llama_cpp

    entries = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
    for entry, (name, values) in zip(entries, importance.items(), strict=False):
        assert values.dtype == np.float32, name
        assert values.ndim == 1, name
        assert values.flags.c_contiguous, name
        entry.name = name.encode()
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = values.size
    return entries


def type_entries(tensor_types: Mapping[str, str]) -> ctypes.Array:
    import gguf
    import llama_cpp

    entries = (llama_cpp.llama_model_tensor_override * (len(tensor_types) + 1))()
    for entry, (name, kind) in zip(entries, tensor_types.items(), strict=False):
        # A regex for llama.cpp, which searches; the whole name and nothing else.
        entry.pattern = ("^" + name.replace(".", r"\.") + "$").encode()
        entry.type = gguf.GGMLQuantizationType[kind].value
    return entries


def metadata_entries(metadata: Mapping[str, str]) -> ctypes.Array:
    import llama_cpp

    entries = (llama_cpp.llama_model_kv_override * (len(metadata) + 1))()
    for entry, (key, text) in zip(entries, metadata.items(), strict=False):
        assert max(len(key.encode()), len(text.encode())) <= MAX_METADATA_BYTES, key
        entry.tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR
        entry.key = key.encode()
        entry.value.val_str = text.encode()
    return entries


@contextmanager
def quantizer_log(on_progress: Progress | None) -> Iterator[list[str]]:
    """Collect llama.cpp's log while the block runs, and turn its `[ 3/38] name` lines into progress."""
    import llama_cpp

    lines: list[str] = []

    @llama_cpp.llama_log_callback
    def collect(level: int, text: bytes, _user_data: Any) -> None:
        line = text.decode("utf-8", "replace")
        lines.append(line)
        if on_progress is not None and (step := STEP.search(line)):
            on_progress(int(step[1]), int(step[2]), step[3])

    llama_cpp.llama_log_set(collect, ctypes.c_void_p(0))
    try:
        yield lines
    finally:
        llama_log.listen()  # `collect` goes away with this frame


def failure(source: Path, out: Path, log: str) -> QuantplayError:
    """llama.cpp's last words as one of our errors."""
    reasons = FAILED.findall(log)
    reason = reasons[-1].strip() if reasons else "it gave no reason"
    if disk_is_full(reason):
        return out_of_space(out, reason)
    hints = {
        "imatrix": "this type needs an importance matrix: give the plan calibration data and quantize with it",
        "requantizing": "quantize from a full-precision GGUF, never from a quantized one",
        "validation failed": "the weights or the importance matrix hold NaN or infinite values",
        "invalid data": "the weights hold NaN or infinite values",
    }
    fix = next((hint for word, hint in hints.items() if word in reason), None)
    return InputError(f"llama.cpp can't quantize {source}: {reason}", fix=fix)


def disk_is_full(reason: str) -> bool:
    """C++ streams say only `basic_ios::clear: iostream error` when a write failed."""
    return "iostream error" in reason or "No space left" in reason or "File too large" in reason
