"""The header of a GGUF file: metadata and the list of tensors, without touching their data or the vocabulary.

gguf's own reader builds several Python objects for each token of the vocabulary: 1 s for 32,000 tokens, and four times that for
a vocabulary of today. Format: docs/gguf.md of the ggml project, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from quantplay.errors import IntegrityError

MAGIC = 0x46554747  # "GGUF"
VERSIONS = (2, 3)
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
LONGEST_ARRAY = 4096  # longer ones and those of strings belong to the vocabulary and are left out
MOST_DIMENSIONS = 4
ALIGNMENT_KEY, ALIGNMENT = "general.alignment", 32


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as a GGUF file holds it."""

    shape: tuple[int, ...]  # columns first
    kind: str  # ggml type name
    size_bytes: int
    offset: int  # of its data, from the header's `data_start`

    @property
    def weights(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself."""

    metadata: dict[str, Any]  # numbers, strings and short lists of numbers, by key
    tensors: dict[str, StoredTensor]  # in the file's order
    data_start: int  # byte where the tensors' data begin


def read_gguf_header(path: Path) -> GgufHeader:
    """The header of `path`. Raises IntegrityError where the file is damaged or cut short."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return parse(data)
    except (OSError, ValueError, KeyError, OverflowError, struct.error) as error:
        raise IntegrityError(f"{path} is no complete GGUF file", value=error, fix="make it again") from error


def parse(data: mmap.mmap) -> GgufHeader:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    cursor = Cursor(data)
    magic, version, tensor_count, field_count = cursor.take("<IIQQ")
    if magic != MAGIC or version not in VERSIONS:
        raise ValueError(f"magic number {magic:#x}, version {version}")
    metadata: dict[str, Any] = {}
    for _ in range(field_count):
        key = cursor.string()
        if key in metadata:
            raise ValueError(f"the key {key!r} stands twice in it")
        metadata[key] = cursor.value(cursor.take("<I")[0])
    tensors = {}
    for _ in range(tensor_count):
        name = cursor.string()
        dimensions = cursor.take("<I")[0]
        if name in tensors or dimensions > MOST_DIMENSIONS:
            raise ValueError(f"the tensor {name!r} stands twice in it, or has {dimensions} dimensions")
        shape = cursor.take(f"<{dimensions}Q")
        number, offset = cursor.take("<IQ")
        kind = GGMLQuantizationType(number)
        block, block_bytes = GGML_QUANT_SIZES[kind]
        tensors[name] = StoredTensor(shape, kind.name, prod(shape) // block * block_bytes, offset)
    alignment = metadata.get(ALIGNMENT_KEY, ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"{ALIGNMENT_KEY} is {alignment}")
    start = -(-cursor.place // alignment) * alignment
    for name, tensor in tensors.items():
        if start + tensor.offset + tensor.size_bytes > len(data):
            raise ValueError(f"it ends before the tensor {name!r} does")
    return GgufHeader({key: value for key, value in metadata.items() if value is not None}, tensors, start)


class Cursor:
    """Reads on from place to place."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.place = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return found

    def string(self) -> str:
        length = self.take("<Q")[0]
        self.require(length)
        self.place += length
        return self.data[self.place - length : self.place].decode()

    def value(self, kind: int) -> Any:
        """A number, a string, a short list of numbers, or None for what is skipped."""
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.take(f"<{NUMBERS[kind]}")[0]
        of, count = self.take("<IQ")
        if of == STRING:
            self.skip_strings(count)
            return None
        self.require(count * struct.calcsize(f"<{NUMBERS[of]}"))
        if count <= LONGEST_ARRAY:
            return list(self.take(f"<{count}{NUMBERS[of]}"))
        self.place += count * struct.calcsize(f"<{NUMBERS[of]}")
        return None

    def skip_strings(self, count: int) -> None:
        place, data, length_at = self.place, self.data, struct.Struct("<Q").unpack_from
        for _ in range(count):
            place += 8 + length_at(data, place)[0]
        self.place = place
        self.require(0)

    def require(self, length: int) -> None:
        if self.place + length > len(self.data):
            raise ValueError(f"it ends after {len(self.data)} bytes, inside its header")
