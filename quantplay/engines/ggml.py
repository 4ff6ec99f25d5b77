"""ggml's own quantizers, one tensor at a time and in memory: what llama.cpp's quantizer would store of some weights.

They are the functions llama_model_quantize calls (ggml_quantize_chunk of ggml.h and `to_float` of a type's traits), taken from
the library that serves, so that a simulated tensor equals the served one bit for bit. The calls release Python's lock: threads
may work on different tensors. ggml aborts the process where a caller breaks its rules, so all of them are checked here first.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.errors import InputError, MissingDependency

KINDS = (
    "F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "Q3_K", "Q2_K", "IQ4_NL", "IQ4_XS",
    "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ2_0", "TQ1_0", "MXFP4", "NVFP4",
)  # fmt: skip
"""ggml types a matrix can be stored as. Those that only hold activations or integers are left out."""

NEEDS_IMPORTANCE = frozenset({"IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"})
"""llama.cpp refuses to make these without an importance matrix (tensor_requires_imatrix of src/llama-quant.cpp), but for the
embedding and the output matrix."""

ABORTS_WITHOUT_IMPORTANCE = frozenset({"IQ2_XXS", "IQ2_XS", "IQ1_S"})  # ggml_quantize_requires_imatrix of ggml.c


def quantized(kind: str, weights: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
    """`weights` as ggml stores them in type `kind` (a name of KINDS such as Q4_K).

    weights: float32 (rows, columns), or (experts, rows, columns). importance: mean of squared inputs, float32 (columns,), or
    (experts, columns). Returns uint8 (..., rows, bytes of a row). Raises InputError on an unknown type, rows that don't fit
    its blocks, values that are not finite, and a missing importance where ggml can't do without.
    """
    number, block, size = layout(kind)
    weights = np.ascontiguousarray(weights, dtype=np.float32)
    columns = weights.shape[-1]
    require_fitting(kind, weights, block, importance)
    out = np.empty((*weights.shape[:-1], columns // block * size), np.uint8)
    if out.size == 0:
        return out
    parts: list[Any] = [(weights, out)] if weights.ndim == 2 else list(zip(weights, out, strict=True))
    columns_of = importance_of_parts(importance, len(parts), columns)
    ggml = library()
    ggml.ggml_quantize_init(number)
    for (part, stored), values in zip(parts, columns_of, strict=True):
        pointer = None if values is None else values.ctypes.data
        written = ggml.ggml_quantize_chunk(
            number, part.ctypes.data, stored.ctypes.data, 0, part.shape[0], columns, pointer
        )
        assert written == stored.nbytes, (kind, written, stored.nbytes)
    return out


def restored(kind: str, data: np.ndarray, columns: int) -> np.ndarray:
    """The weights that `data`, uint8 (..., rows, bytes of a row), stands for: float32 (..., rows, columns)."""
    number, block, size = layout(kind)
    data = np.ascontiguousarray(data, dtype=np.uint8)
    if columns % block or data.shape[-1] != columns // block * size:
        raise InputError(
            f"these bytes are no rows of {columns} weights in {kind}", value=f"{data.shape[-1]} bytes a row",
            allowed=f"{size} bytes for every {block} weights",
        )  # fmt: skip
    if kind == "F32":
        return data.view(np.float32).copy()
    out = np.empty((*data.shape[:-1], columns), np.float32)
    if out.size:
        traits = library().ggml_get_type_traits(number).contents
        traits.to_float(data.ctypes.data, out.ctypes.data, out.size)
    return out


def simulated(kind: str, weights: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
    """`weights` after a way through `kind` and back: float32 of the same shape, what the runtime computes with."""
    return restored(kind, quantized(kind, weights, importance), weights.shape[-1])


def valid_rows(kind: str, data: np.ndarray) -> bool:
    """Whether `data`, uint8, whole blocks of a ggml type, holds finite scales and values alone, as llama.cpp checks what it loads
    (ggml_validate_row_data). Says on standard error what is wrong."""
    import gguf

    return not data.size or bool(
        library().ggml_validate_row_data(int(gguf.GGMLQuantizationType[kind]), data.ctypes.data, data.size)
    )


def layout(kind: str) -> tuple[int, int, int]:
    """ggml's number of the type, weights a block, bytes a block. Raises InputError on a type that stores no weights."""
    import gguf

    if kind not in KINDS:
        raise InputError("ggml stores no weights in this type", value=kind, allowed=", ".join(KINDS))
    number = gguf.GGMLQuantizationType[kind]
    return int(number), *gguf.GGML_QUANT_SIZES[number]


def bits_per_weight(kind: str) -> float:
    """Scales included. Raises InputError as `layout` does."""
    _, block, size = layout(kind)
    return 8 * size / block


def require_fitting(kind: str, weights: np.ndarray, block: int, importance: np.ndarray | None) -> None:
    columns = weights.shape[-1]
    if weights.ndim not in (2, 3):
        raise InputError("only matrices are quantized", value=f"shape {weights.shape}", allowed="2 or 3 dimensions")
    if columns % block:
        raise InputError(f"rows don't fit {kind}", value=f"{columns} weights a row", allowed=f"multiples of {block}")
    if not np.isfinite(weights).all():
        raise InputError(f"the weights can't be stored as {kind}", value="NaN or infinite values", allowed="numbers")
    if importance is None:
        if kind in ABORTS_WITHOUT_IMPORTANCE:
            raise InputError(f"{kind} needs an importance matrix", fix="measure one, or choose a K-type such as Q2_K")
        return
    wanted = (columns,) if weights.ndim == 2 else (weights.shape[0], columns)
    if importance.shape != wanted and importance.size != int(np.prod(wanted)):
        raise InputError("the importance does not fit the weights", value=f"{importance.shape}", allowed=f"{wanted}")
    if not np.isfinite(importance).all():
        raise InputError("the importance matrix can't be used", value="NaN or infinite values", allowed="numbers")


def importance_of_parts(importance: np.ndarray | None, parts: int, columns: int) -> list[np.ndarray | None]:
    if importance is None:
        return [None] * parts
    return list(np.ascontiguousarray(importance, dtype=np.float32).reshape(parts, columns))


# --- the library ----------------------------------------------------------------------------------------------------


class Traits(ctypes.Structure):
    """struct ggml_type_traits of ggml.h, llama.cpp 0.5.0."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float_ref", ctypes.c_void_p),
    )


@cache
def library() -> Any:
    """libggml-base of the installed llama.cpp, its functions declared. Raises MissingDependency where there is none."""
    spec = importlib.util.find_spec("llama_cpp")
    folder = Path(spec.origin).parent / "lib" if spec is not None and spec.origin else Path()
    found = [folder / name for name in ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")]
    file = next((path for path in found if path.is_file()), None)
    if file is None:
        raise MissingDependency("llama.cpp's libggml-base is not installed", fix="pip install llama-cpp-python")
    ggml = ctypes.CDLL(str(file))
    ggml.ggml_quantize_init.argtypes, ggml.ggml_quantize_init.restype = [ctypes.c_int], None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_validate_row_data.argtypes = [ctypes.c_int, pointer, ctypes.c_size_t]
    ggml.ggml_validate_row_data.restype = ctypes.c_bool
    ggml.ggml_get_type_traits.argtypes, ggml.ggml_get_type_traits.restype = [ctypes.c_int], ctypes.POINTER(Traits)
    return ggml
