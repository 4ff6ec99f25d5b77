"""Refuse weights that hold NaN or infinite values, by tensor name, before anything is computed from them.

By the bits alone, so that neither torch nor a number type for bfloat16 or 8-bit floats is needed: a value is not finite
where all its exponent bits are set (IEEE 754); 8-bit E4M3 has one such pattern only, all bits but the sign (OCP OFP8).
"""

from __future__ import annotations

from pathlib import Path

from quantplay.errors import Fault, InputError
from quantplay.evalset.weights import Tensor, read_header

NOT_FINITE = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "C64": ("<u4", 0x7F80_0000),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),
    "F8_E8M0": ("u1", 0xFF),
}
"""dtype -> numpy type of its bits, the bits that are all set in what is not finite. Other types can't say NaN."""

CHUNK = 1 << 18  # values at a time: with their masks they stay in a core's cache


def require_finite_weights(model_folder: Path) -> None:
    """Read every tensor of the folder's safetensors files once. Raises InputError naming each tensor that is not finite.

    BrokenWeightsError or OSError for files that are no whole safetensors files.
    """
    faults = []
    for path in sorted(model_folder.glob("*.safetensors")):
        for name, tensor in read_header(path).items():
            if bad := count_not_finite(path, tensor):
                total = tensor_values(tensor)
                faults.append(Fault(where=f"{path.name}: {name}", what=f"{bad} of {total} values are NaN or infinite"))
    if faults:
        raise InputError(
            f"the weights in {model_folder} are damaged",
            faults=faults,
            fix="save or download the model again; it can't be quantized",
        )


def tensor_values(tensor: Tensor) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def count_not_finite(path: Path, tensor: Tensor) -> int:
    """How many values of `tensor`, which lies in the file `path`, are NaN or infinite."""
    import numpy as np

    if tensor.dtype not in NOT_FINITE or tensor.begin == tensor.end:
        return 0
    kind, exponent = NOT_FINITE[tensor.dtype]
    bits = np.dtype(kind)
    mask = bits.type(exponent)
    bad = 0
    with path.open("rb") as file:
        file.seek(tensor.begin)
        left = (tensor.end - tensor.begin) // bits.itemsize
        while left > 0:
            values = np.fromfile(file, bits, min(left, CHUNK))
            if not len(values):
                raise OSError(f"{path} became shorter while it was read")
            bad += int(np.count_nonzero((values & mask) == mask))
            left -= len(values)
    return bad
