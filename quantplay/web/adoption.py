"""The page on adoption: the last thirty days, as our gateways counted them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

from markupsafe import Markup

from quantplay.adoption import adoption, read_source
from quantplay.adoption.page import adoption_fragment
from quantplay.store.registry import Store

KEPT_SECONDS = 60.0


@dataclass(kw_only=True)
class Looks:
    """A look reads everything that was counted, so one serves for a minute, and two are never taken at once."""

    clock: Callable[[], float] = time.monotonic
    until: float = 0.0
    part: Markup | None = None
    lock: Lock = field(default_factory=Lock)

    def newest(self, opened: Callable[[], Store]) -> Markup:
        with self.lock:
            if self.part is None or self.clock() >= self.until:
                now = datetime.now(UTC)
                self.part = adoption_fragment(
                    adoption(opened(), read_source(None, None, now), now), packages="/packages/"
                )
                self.until = self.clock() + KEPT_SECONDS
            return self.part
