"""How far quantization has come where it counts: in the volume that is served. Docs: docs/adoption.md."""

from __future__ import annotations

from datetime import datetime

from quantplay.adoption.gather import MEASURED, SUBJECT, gather
from quantplay.adoption.report import Adoption, measured
from quantplay.adoption.sources import Source, read_source
from quantplay.store.registry import Store

__all__ = ["MEASURED", "SUBJECT", "Adoption", "Source", "adoption", "measured", "read_source"]


def adoption(store: Store, source: Source, now: datetime) -> Adoption:
    """By the product database and `source`, which `read_source` gives; `now`: with a time zone."""
    return measured(gather(store, source, now))
