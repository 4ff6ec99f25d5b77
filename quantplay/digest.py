"""Canonical JSON, file and directory digests: the identity of everything.

A digest is 64 lower-case hexadecimal characters of SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces; equal values give equal bytes.

    Floats are written by Python's shortest round-trip form. NaN and infinities are refused (ValueError): they are no
    JSON, and a digest over them would hide a fault.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of the file's bytes, read a part at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_entries(entries: Iterable[tuple[str, str]]) -> str:
    """Digest of a set of files, given as (path relative to the set with `/`, digest of the bytes).

    Independent of the order and of where the set lies.
    """
    return digest_of(sorted([path, digest] for path, digest in entries))


def is_digest(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def finite(value: float | None) -> float | None:
    """`value`, or None where it is NaN or infinite: what may enter a record."""
    return value if value is not None and math.isfinite(value) else None
