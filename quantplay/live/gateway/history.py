"""What the judge said and how the traffic came where it is, for the page of operators; never on the path of a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from quantplay.live.chart import POINTS
from quantplay.live.state import Verdict
from quantplay.store.registry import Store
from quantplay.store.traffic import Change

CHANGES = 12  # the newest, of an endpoint


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """One revision of one endpoint."""

    verdicts: tuple[Verdict, ...] = ()  # oldest first, thinned out evenly, the newest among them
    changes: tuple[Change, ...] = ()  # of the endpoint, oldest first


class History(Protocol):
    def read(self, endpoint: str, revision: int) -> Remembered:
        """Blocks; called in a thread. Raises ServiceUnavailable where nothing can be read."""
        ...


@dataclass(frozen=True, kw_only=True)
class DatabaseHistory:
    """From the product database."""

    open: Callable[[], Store]

    def read(self, endpoint: str, revision: int) -> Remembered:
        store = self.open()
        told = store.judgements(endpoint, revision, most=POINTS)
        return Remembered(
            verdicts=tuple(Verdict.model_validate_json(one) for one in told),
            changes=store.traffic_changes(endpoint)[-CHANGES:],
        )
