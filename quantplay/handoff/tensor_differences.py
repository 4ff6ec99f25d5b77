"""Where two quantized files differ, and how far: for a replay that did not give the same bytes.

How far is measured against what quantization itself changed, tensor by tensor:
rms(made - recorded) / rms(recorded - full precision), over the dequantized weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.digest import finite
from quantplay.errors import IntegrityError
from quantplay.process import Report

TOLERANCE = 0.2
"""Largest share of quantization's own change by which a tensor may differ where another machine or version made it
(benchmarks/replay_tolerance.py: rounding in the importance matrix stays below 0.13, other calibration texts give 0.45 and more)."""
WEIGHTS_AT_ONCE = 1 << 22  # dequantized together


@dataclass(frozen=True, kw_only=True)
class TensorDifference:
    """One tensor that is not the same in both files."""

    name: str
    recorded: str | None  # stored type; None where the file lacks the tensor
    made: str | None
    changed: float | None = None  # share of weights with another value, in [0, 1]
    largest: float | None = None  # largest absolute difference of a weight
    distance: float | None = None  # relative to quantization's own change; None where that is zero or can't be told

    @property
    def within_tolerance(self) -> bool:
        return self.changed == 0 or (self.distance is not None and self.distance <= TOLERANCE)


@dataclass(frozen=True, kw_only=True)
class FileDifferences:
    """What two GGUF files don't share."""

    tensors: tuple[TensorDifference, ...]
    metadata: tuple[str, ...]  # keys in the header
    compared: int  # tensors of the recorded file

    @property
    def within_tolerance(self) -> bool:
        """Whether every tensor is; the importance matrix's digest in the header follows from the tensors."""
        return all(tensor.within_tolerance for tensor in self.tensors)


def differences_job(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Job of quantplay.process. payload: recorded, made, reference (paths of GGUF files). Returns FileDifferences' fields.

    Raises IntegrityError where one of them can't be read as a GGUF file.
    """
    import gguf

    try:
        recorded, made, reference = (gguf.GGUFReader(Path(payload[key])) for key in ("recorded", "made", "reference"))
        tensors = tuple(compared(recorded, made, reference, report))
        metadata = different_keys(recorded, made)
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise IntegrityError("the two files can't be compared", value=error) from error
    return {"tensors": [asdict(one) for one in tensors], "metadata": metadata, "compared": len(recorded.tensors)}


def differences_of(body: dict[str, Any]) -> FileDifferences:
    """The record from what the job returned."""
    return FileDifferences(
        tensors=tuple(TensorDifference(**one) for one in body["tensors"]),
        metadata=tuple(body["metadata"]), compared=body["compared"],
    )  # fmt: skip


def compared(recorded: Any, made: Any, reference: Any, report: Report) -> Iterator[TensorDifference]:
    """Every tensor that differs, in the order of their names."""
    ours, theirs, full = ({one.name: one for one in file.tensors} for file in (made, recorded, reference))
    names = sorted(ours.keys() | theirs.keys())
    for count, name in enumerate(names, start=1):
        here, there = ours.get(name), theirs.get(name)
        report(count, len(names), "tensors compared")
        before, after = there and there.tensor_type.name, here and here.tensor_type.name
        if here is None or there is None or list(here.shape) != list(there.shape):
            yield TensorDifference(name=name, recorded=before, made=after)
        elif before != after or not np.array_equal(here.data, there.data):
            gap = distance(there, here, full.get(name))
            yield TensorDifference(
                name=name, recorded=before, made=after, changed=gap.changed, largest=gap.largest, distance=gap.distance
            )


@dataclass(frozen=True, kw_only=True)
class Gap:
    """As in TensorDifference."""

    changed: float
    largest: float | None
    distance: float | None


def distance(recorded: Any, made: Any, full: Any) -> Gap:
    """How far two tensors of one shape are apart, a few rows at a time. full: the same tensor in full precision, or None."""
    count = changed = largest = apart = 0.0
    quantized = 0.0 if full is not None and list(full.shape) == list(recorded.shape) else math.nan
    for start, stop in pieces(recorded):
        before, after = values(recorded, start, stop), values(made, start, stop)
        gap = np.abs(after - before)
        count += gap.size
        changed += float(np.count_nonzero(gap))
        largest = max(largest, float(gap.max(initial=0.0)))
        apart += float(np.square(gap).sum())
        if not math.isnan(quantized):
            quantized += float(np.square(before - values(full, start, stop)).sum())
    ratio = math.sqrt(apart / quantized) if quantized > 0 else None
    return Gap(changed=changed / max(count, 1.0), largest=finite(largest), distance=finite(ratio))


def pieces(tensor: Any) -> Iterator[tuple[int, int]]:
    """Row ranges of about WEIGHTS_AT_ONCE weights; a vector is one row."""
    rows = rows_of(tensor).shape[0]
    step = max(1, WEIGHTS_AT_ONCE // max(1, int(tensor.shape[0])))
    for start in range(0, rows, step):
        yield start, min(rows, start + step)


def rows_of(tensor: Any) -> np.ndarray:
    """Stored data, one row of the matrix a row, shape (rows, bytes or values of a row)."""
    return tensor.data.reshape(-1, tensor.data.shape[-1])


def values(tensor: Any, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` as float64."""
    from gguf.quants import dequantize

    return dequantize(rows_of(tensor)[start:stop], tensor.tensor_type).astype(np.float64)


def different_keys(recorded: Any, made: Any) -> list[str]:
    """Metadata keys that only one file has, or whose values differ."""
    ours, theirs = ({key: field.contents() for key, field in file.fields.items()} for file in (made, recorded))
    return sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
