"""One text out of a GGUF file's metadata, read strictly and without any library: the file is not trusted.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from quantplay.errors import IntegrityError

FIXED_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9
LARGEST_TEXT = 1 << 24
MOST_ENTRIES = 1 << 24


def metadata_text(path: Path, key: str) -> str | None:
    """Value of the text `key`, None where the file has no such key. Raises IntegrityError on anything malformed."""
    with path.open("rb") as file:
        header = Header(file, path.stat().st_size)
        try:
            return header.find(key)
        except (struct.error, ValueError) as error:
            raise IntegrityError(f"{path.name} is no well-formed GGUF file", value=error) from error


class Header:
    """Reads forward through the metadata."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size

    def find(self, key: str) -> str | None:
        if self.take(4) != b"GGUF":
            raise ValueError("it does not start with GGUF")
        version = self.number("<I")
        if version not in (2, 3):
            raise ValueError(f"version {version}")
        self.number("<Q")  # tensors
        for _ in range(self.count()):
            name, kind = self.text(), self.number("<I")
            if name == key:
                if kind != STRING:
                    raise ValueError(f"{key} is no text")
                return self.text()
            self.skip(kind)
        return None

    def skip(self, kind: int) -> None:
        """Pass over one value."""
        if kind == STRING:
            self.forward(self.number("<Q"))
        elif kind == ARRAY:
            inner, count = self.number("<I"), self.count()
            if inner in FIXED_SIZES:
                self.forward(count * FIXED_SIZES[inner])
            elif inner == STRING:
                for _ in range(count):
                    self.skip(STRING)
            else:
                raise ValueError(f"an array of kind {inner}")
        elif kind in FIXED_SIZES:
            self.forward(FIXED_SIZES[kind])
        else:
            raise ValueError(f"a value of kind {kind}")

    def count(self) -> int:
        count = self.number("<Q")
        if count > MOST_ENTRIES:
            raise ValueError(f"{count} entries")
        return count

    def text(self) -> str:
        length = self.number("<Q")
        if length > LARGEST_TEXT:
            raise ValueError(f"a text of {length} bytes")
        return self.take(length).decode()

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def forward(self, count: int) -> None:
        if self.file.tell() + count > self.size:
            raise ValueError("it ends in the middle of its metadata")
        self.file.seek(count, 1)

    def take(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) != count:
            raise ValueError("it ends in the middle of its metadata")
        return data
