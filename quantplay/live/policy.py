"""What is in force at an endpoint, as far as the judge needs to know."""

from __future__ import annotations

from pydantic import Field

from quantplay.live.rules import LiveRules
from quantplay.records import Record


class Policy(Record):
    """One revision: counters start at zero with it, and so does the evidence. Times in seconds since 1970, UTC."""

    revision: int = Field(ge=1)
    since: int = Field(ge=0)  # when it came into force
    weight: float = Field(ge=0, le=1)  # share of conversations assigned to the quantized model now
    steps: tuple[float, ...] = ()  # shares it may rise to, one after the other
    killed: bool = False  # the kill switch: full precision at once

    def next_weight(self, rules: LiveRules) -> float | None:
        """The next share of traffic; the holdback stays on full precision. None at the top."""
        top = 1 - rules.limits.holdback
        return min((min(step, top) for step in self.steps if min(step, top) > self.weight), default=None)
