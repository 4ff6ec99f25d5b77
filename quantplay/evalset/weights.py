"""The header of a safetensors file, checked against the bytes that are there.

Format: https://huggingface.co/docs/safetensors - 8 bytes little-endian header length, JSON, tensor data without gaps.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from quantplay.evalset.jsonl import no_duplicates, require_regular

MAX_HEADER_BYTES = 100_000_000  # the library's own limit
BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}


class BrokenWeightsError(ValueError):
    """The file is no whole safetensors file; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor as a header describes it."""

    dtype: str  # a key of BITS
    shape: tuple[int, ...]
    begin: int  # of its first byte in the file
    end: int  # behind its last byte


def read_header(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a safetensors file whose header fits its bytes exactly.

    Raises BrokenWeightsError (malformed, truncated, gaps, overlaps, trailing bytes, a name twice, nothing in it) or OSError.
    """
    require_regular(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise BrokenWeightsError(f"the file has only {size} bytes")
        (length,) = struct.unpack("<Q", start)
        if length > MAX_HEADER_BYTES or 8 + length > size:
            raise BrokenWeightsError(
                f"its header claims {length} bytes and the file has {size}: truncated or no safetensors"
            )
        raw = file.read(length)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        raise BrokenWeightsError("its header is no JSON, or names a tensor twice") from error
    if not isinstance(header, dict):
        raise BrokenWeightsError("its header is no JSON object")
    header.pop("__metadata__", None)
    check_layout(header, size - 8 - length)
    return {
        name: Tensor(
            dtype=tensor["dtype"],
            shape=tuple(tensor["shape"]),
            begin=8 + length + tensor["data_offsets"][0],
            end=8 + length + tensor["data_offsets"][1],
        )
        for name, tensor in header.items()
    }


def check_layout(header: dict[str, Any], data_bytes: int) -> None:
    if not header:
        raise BrokenWeightsError("it holds no tensor")
    spans = []
    for name, tensor in header.items():
        try:
            shape, bits, (begin, end) = tensor["shape"], BITS[tensor["dtype"]], tensor["data_offsets"]
            whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenWeightsError(f"tensor {name[:80]!r} has no valid dtype, shape and data_offsets") from error
        if not whole or (end - begin) * 8 != prod(shape) * bits:
            raise BrokenWeightsError(f"tensor {name[:80]!r}: its shape does not fit its bytes")
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise BrokenWeightsError("its tensors overlap or leave gaps")
        position = end
    if position != data_bytes:
        raise BrokenWeightsError(
            f"its tensors need {position} bytes and {data_bytes} are there: truncated or appended to"
        )
