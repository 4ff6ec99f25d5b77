"""What was counted since, from samples of counters: one that begins anew goes on from where it stood, one that is new is not taken for news.

Every sample is looked at once, so a counter that was reset between two looks is seen wherever Prometheus saw it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]
TARGET = ("job", "instance")
"""Labels that Prometheus itself puts on everything it scrapes at one place."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """A counter at one place; samples (seconds since 1970, value) in their order."""

    labels: Labels
    samples: tuple[tuple[float, float], ...]

    @property
    def target(self) -> Labels:
        return tuple(pair for pair in self.labels if pair[0] in TARGET)

    def label(self, name: str) -> str | None:
        return dict(self.labels).get(name)


@dataclass(kw_only=True)
class Rises:
    """What is remembered between two looks."""

    last: dict[Labels, tuple[float, float]] = field(default_factory=dict)
    scraped_since: dict[Labels, float] = field(default_factory=dict)  # target -> its first sample

    def meet(self, found: Iterable[Series]) -> None:
        """Note when each target was seen first: before what its series say is counted."""
        for series in found:
            if series.samples:
                first = series.samples[0][0]
                self.scraped_since[series.target] = min(first, self.scraped_since.get(series.target, first))

    def take(self, series: Series) -> float:
        """How much the counter rose over its samples not looked at yet.

        A counter that appears at a target which was scraped before began there at 0. One that comes with a new target may be old:
        counting begins with its first sample.
        """
        risen = 0.0
        before = self.last.get(series.labels)
        for at, value in series.samples:
            if before is None:
                risen += value if at > self.scraped_since.get(series.target, at) else 0.0
            elif at <= before[0]:
                continue
            else:
                risen += value - before[1] if value >= before[1] else value
            before = at, value
        if before is not None:
            self.last[series.labels] = before
        return risen
