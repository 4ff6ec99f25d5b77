"""Imported artifacts that nobody has measured: shown beside the packages, and never among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quantplay.formats import FORMATS
from quantplay.store.registry_imports import Imported

UNVALIDATED = "unvalidated"
"""How an imported artifact stands until a run has locked it; beside a package's standings."""


def wanted_imports(found: Iterable[Imported], given: Mapping[str, Any], state: str | None) -> tuple[Imported, ...]:
    """The unvalidated ones that are like what somebody looks for: a validated one is a package, and shown as one."""
    if state not in (None, UNVALIDATED) or given.keys() - {"text", "base", "runtime", "type", "bits"}:
        return ()  # nobody measured it, owns it or says what it is for

    def like(one: Imported) -> bool:
        told = one.told
        text = " ".join((told.name, told.base_source, told.type, told.format, told.origin)).lower()
        runtimes = FORMATS[told.format].runtimes if told.format in FORMATS else ()
        return (
            str(given.get("text", "")).lower() in text
            and told.base.startswith(str(given.get("base", "")).lower())
            and given.get("runtime", "") in ("", *runtimes)
            and given.get("type", told.type).lower() == told.type.lower()
            and given.get("bits", told.nominal_bits) == told.nominal_bits
        )

    return tuple(one for one in found if not one.validated and like(one))
