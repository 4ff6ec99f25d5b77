"""A GGUF file that was quantized elsewhere, by its header, and every block by ggml's own check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from quantplay.engines.ggml import bits_per_weight, valid_rows
from quantplay.engines.gguf_header import GgufHeader, read_gguf_header
from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.evalset.jsonl import printable
from quantplay.formats import TYPES

GUESSED = 1024  # llama.cpp adds it to a type that nobody wrote into the file
FURTHEST_BITS = 1.0  # between what most of the file is stored in and the type it names
WIDE = ("F64", "F32", "F16", "BF16")
LONGEST_WORDS = 200


def read_gguf(path: Path) -> dict[str, Any]:
    """The fields of imported.Told."""
    header = read_gguf_header(path)
    if (parts := header.metadata.get("split.count", 1)) not in (0, 1):
        raise InputError(
            "this is one part of a GGUF file that was split", value=f"{path.name}, one of {parts}", allowed="the whole file",
            fix="join them with llama.cpp: llama-gguf-split --merge FIRST_PART WHOLE",
        )  # fmt: skip
    weights = Counter[str]()
    for name, tensor in header.tensors.items():
        if name.startswith("blk.") and len(tensor.shape) > 1:
            weights[tensor.kind] += tensor.weights
    if not weights:
        raise IntegrityError(
            "this GGUF file holds no layers", value=path, fix="copy it again; a vocabulary is no model"
        )
    bulk = weights.most_common(1)[0][0]
    if bulk in WIDE:
        raise InputError(
            "this file is not quantized", value=f"most weights are {bulk}", allowed="a quantized model",
            fix="full precision needs no import: name its folder as `model.source` of a plan",
        )  # fmt: skip
    kind = named_type(header) or bulk
    serving = TYPES.get(kind)
    if serving is not None and abs(bits_per_weight(bulk) - serving.bits_per_weight) > FURTHEST_BITS:
        raise InputError(
            "the file says that it is another type than its tensors are", value=f"{kind}; most weights are {bulk}",
            allowed=f"about {serving.bits_per_weight:g} bits a weight", fix="get it again from where it comes from",
        )  # fmt: skip
    if faults := list(damaged(path, header)):
        raise InputError(
            f"the weights in {path.name} are damaged", faults=faults, fix="make or download the file again"
        )
    return {
        "format": "gguf",
        "type": kind,
        "nominal_bits": serving.nominal_bits if serving is not None else int(bits_per_weight(bulk)),
        "group_size": serving.group_size if serving is not None else 0,
        "stored_bits": 8 * sum(one.size_bytes for one in header.tensors.values()),
        "tensors": {name: one.kind for name, one in header.tensors.items()},
        "full_precision": tuple(
            name for name, one in header.tensors.items() if one.kind in WIDE and sum(size > 1 for size in one.shape) > 1
        ),
        "shapes": {name: one.shape for name, one in header.tensors.items()},
        "words": {
            printable(key): printable(str(value))
            for key, value in header.metadata.items()
            if key.startswith(("general.", "quantize.")) and len(str(value)) <= LONGEST_WORDS
        },
    }


def named_type(header: GgufHeader) -> str | None:
    """The type that the file names, as formats.TYPES or as llama.cpp calls it; None where it names none."""
    from gguf.constants import LlamaFileType

    number = header.metadata.get("general.file_type")
    if not isinstance(number, int):
        return None
    number &= ~GUESSED
    known = next((name for name, one in TYPES.items() if one.format == "gguf" and one.ftype == number), None)
    if known is not None:
        return known
    return next((one.name.removeprefix("MOSTLY_") for one in LlamaFileType if one.value == number), None)


def damaged(path: Path, header: GgufHeader) -> Iterator[Fault]:
    """Tensors with a scale or a value that is NaN or infinite, or of a shape that its blocks can't make up."""
    import numpy as np
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    data = np.memmap(path, np.uint8, "r")
    for name, tensor in header.tensors.items():
        block, _ = GGML_QUANT_SIZES[GGMLQuantizationType[tensor.kind]]
        begin = header.data_start + tensor.offset
        if not tensor.shape or tensor.shape[0] % block or not prod(tensor.shape):
            yield Fault(where=printable(name), what=f"can't be stored as {tensor.kind}", value=str(list(tensor.shape)))
        elif not valid_rows(tensor.kind, data[begin : begin + tensor.size_bytes]):
            yield Fault(
                where=printable(name), what="holds a scale or a value that is NaN or infinite", value=tensor.kind
            )
