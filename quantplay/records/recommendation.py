"""What would be viable where a run stopped short."""

from __future__ import annotations

from typing import Literal

from quantplay.records.base import Record


class Recommendation(Record):
    """One way on, with the lines a plan would need for it."""

    kind: Literal["larger type", "mixed precision", "training"]
    what: str  # a sentence: what to do
    why: str  # a sentence or two: by which numbers
    plan_lines: str = ""  # YAML; empty where no plan alone brings it about
