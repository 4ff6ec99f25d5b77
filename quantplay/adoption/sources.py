"""Where volume comes from: our gateways, a CSV file, or a Prometheus. What is asked for is read before a database is opened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.adoption.csv_file import read_csv
from quantplay.adoption.facts import SourceKind, Volume
from quantplay.adoption.served import Directory, Told, by_gateway, resolved
from quantplay.errors import InputError
from quantplay.live.retention import HOURS

if TYPE_CHECKING:
    from quantplay.store.registry import Store

PROMETHEUS = "prometheus:"
USUAL = timedelta(days=29)  # before today: thirty days
ONLY_OURS = (
    "What does not go through a gateway of ours is not in it: --volume reads it from a CSV file or a Prometheus."
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was asked for; `told` is None for our gateways, whose counts are in the database."""

    kind: SourceKind
    words: str
    since: date
    told: tuple[Told, ...] | None

    @property
    def unsplit(self) -> frozenset[str]:
        """Endpoints whose arms it does not tell apart."""
        return frozenset(one.name for one in self.told or () if one.is_endpoint and one.package is None)


def read_source(text: str | None, since: date | None, now: datetime) -> Source:
    """`text`: a CSV file, prometheus:URL, or nothing for our gateways; `since`: by default thirty days with today, UTC.

    Raises InputError for what can't be read, with every fault of a file; ServiceUnavailable where Prometheus is away.
    """
    today = now.date()
    if since is not None and since > today:
        raise InputError("--since has not come yet", value=since, allowed=f"up to {today}, UTC")
    begin = since or today - USUAL
    if not text:
        return Source(kind="gateway", words="our gateways' counters", since=begin, told=None)
    if text.startswith(PROMETHEUS):
        from quantplay.adoption.from_prometheus import read_prometheus
        from quantplay.live.platform.prometheus import Prometheus, require_address

        prometheus = Prometheus(url=require_address(text.removeprefix(PROMETHEUS)))
        rows = read_prometheus(prometheus, begin, now)
        return Source(kind="prometheus", words=f"Prometheus at {prometheus.shown}", since=begin, told=rows)
    path = Path(text).expanduser()
    return Source(kind="csv", words=path.name, since=begin, told=read_csv(path, today))


def volume_of(store: Store, source: Source, directory: Directory) -> Volume:
    if source.told is None:
        return of_gateways(store, source, directory)
    ever = tuple(resolved(source.told, directory))
    rows = tuple(row for row in ever if row.day is not None and row.day >= source.since)
    notes = [f"What {source.words} leaves out is not known."]
    if source.unsplit:
        notes.append("Endpoints whose arms it does not tell apart are split by the share of traffic in force that day.")
    if source.kind == "prometheus":
        notes.append("vLLM servers alone; Prometheus has what its retention left, from each counter's first sample on.")
    last = max((row.day for row in rows if row.day is not None), default=None)
    return Volume(
        kind=source.kind, source=source.words, since=source.since,
        until=directory.now if source.kind == "prometheus" else end_of(last), rows=rows, ever=ever,
        ever_since=min((row.day for row in ever if row.day is not None), default=None), all_tokens=True, notes=tuple(notes),
    )  # fmt: skip


def end_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(23, 59), UTC)


def of_gateways(store: Store, source: Source, directory: Directory) -> Volume:
    """By day for as long as gateways' counts are kept by the hour, and their sums since they began."""
    kept = (directory.now - HOURS).date()
    since = max(source.since, kept)
    counted = store.counted_volume(since)
    notes = [ONLY_OURS, "Tokens are those of answers."]
    if source.since < kept:
        notes.insert(0, f"Counts by day are kept for {HOURS.days} days, so this is from {since} on.")
    moved = sum(min(row.other_arm, row.requests) for row in counted if row.arm == "quantized")
    if moved:
        notes.append(
            f"In {moved:,} conversations full precision answered for the quantized model; a request of each counts as full precision's, "
            "and it may have been more."
        )
    begun = [policy.since for policy in directory.policies.values()]
    return Volume(
        kind="gateway", source=source.words, since=since, until=directory.now, rows=tuple(by_gateway(counted, directory)),
        ever=tuple(by_gateway(store.counted_volume(None), directory)), ever_since=min(begun).date() if begun else None,
        all_tokens=False, notes=tuple(notes),
    )  # fmt: skip
