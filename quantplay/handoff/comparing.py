"""Two values that must be the same, and where they are not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from quantplay.errors import Fault

WORDING = frozenset({"reason", "reasons", "text"})
"""Sentences may read differently in another version of quantplay; numbers and verdicts may not."""


def same(where: str, what: str, found: object, wanted: object) -> Iterator[Fault]:
    if found != wanted:
        yield Fault(where=where, what=what, value=str(found), allowed=str(wanted))


def differences(where: str, found: Any, wanted: Any) -> Iterator[Fault]:
    """Every place where two JSON values differ; floats may differ in the last digits, wording may differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            if key not in WORDING:
                yield from differences(f"{where}: {key}", found.get(key), wanted.get(key))
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            yield from differences(f"{where}[{index}]", one, other)
    elif isinstance(found, float | int) and isinstance(wanted, float | int):
        if not math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-12):
            yield Fault(where=where, what="differs from what the items give", value=str(found), allowed=str(wanted))
    elif found != wanted:
        yield Fault(where=where, what="differs from what the items give", value=str(found), allowed=str(wanted))
