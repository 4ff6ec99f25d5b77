"""The registry's entries with how each stands on a stack, and the same as flat rows for files and data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from quantplay.envelope.changes import stack_changes
from quantplay.plays.standing import Standing, standing
from quantplay.records import Fingerprint, StackChange
from quantplay.store.catalogue import Entry

if TYPE_CHECKING:
    import pandas as pd

OF_AN_EARLIER_VERSION = (
    "Locked by an earlier version, which did not note what it takes to measure it again; run its plan again."
)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A locked package today."""

    entry: Entry
    standing: Standing


def stood(entries: Iterable[Entry], stack: Fingerprint | None, now: datetime) -> tuple[Listed, ...]:
    """`stack`: of the machine that asks: elsewhere the same package may stand differently; None: where it was measured last.

    `now`: with a time zone.
    """
    known: dict[int, tuple[StackChange, ...]] = {}

    def compare(before: Fingerprint, today: Fingerprint) -> tuple[StackChange, ...]:
        """Many packages share the few stacks that they were measured on."""
        if id(before) not in known:
            known[id(before)] = stack_changes(before, today)
        return known[id(before)]

    kept = tuple(entries)  # so that no stack's identity is given away while it is remembered
    return tuple(Listed(entry=entry, standing=standing_of(entry, stack, now, compare)) for entry in kept)


def standing_of(
    entry: Entry,
    stack: Fingerprint | None,
    now: datetime,
    compare: Callable[[Fingerprint, Fingerprint], tuple[StackChange, ...]],
) -> Standing:
    at = entry.locked_at.isoformat(timespec="seconds")
    if entry.stack is None:
        return Standing(
            package=entry.key, name=entry.name, status="stale", at=at, revalidation=None, why=OF_AN_EARLIER_VERSION
        )
    return standing(
        package=entry.key, name=entry.name, locked_at=at, locked_on=entry.stack,
        stack=stack or (entry.newest.stack if entry.newest is not None else entry.stack), now=now, compare=compare,
        newest=(entry.newest.key, entry.newest) if entry.newest is not None else None,
    )  # fmt: skip


def chips(entry: Entry) -> str:
    """What it was measured on, in words; empty where that was not noted."""
    hardware = entry.stack.hardware if entry.stack is not None else None
    return "" if hardware is None else ", ".join(hardware.accelerators) or hardware.cpu


def row_of(one: Listed) -> dict[str, Any]:
    """One flat row. Sizes in bytes, times in ms at the median, drops in points or nats a token as `worst_unit` says."""
    entry, worst = one.entry, one.entry.worst
    return {
        "package": entry.key, "name": entry.name, "status": one.standing.status, "since": one.standing.at, "why": one.standing.why,
        "incident": entry.incident, "profile": entry.profile, "use_case": entry.use_case, "owner": entry.owner,
        "product_owner": entry.product_owner, "model": entry.source, "base": entry.base, "runtime": entry.runtime,
        "method": entry.method, "format": entry.format, "type": entry.type, "bits": entry.bits,
        "bits_per_weight": entry.bits_per_weight, "size_bytes": entry.size_bytes, "sha256": entry.sha256, "verdict": entry.verdict,
        "worst_slice": worst.slice if worst else None, "worst_drop": worst.drop if worst else None,
        "worst_allowed": worst.max_drop if worst else None, "worst_unit": worst.unit if worst else None,
        "time_per_token_ms": entry.time_per_token_ms,
        "full_precision_time_per_token_ms": entry.full_precision_time_per_token_ms,
        "tokens_per_second": entry.tokens_per_second, "peak_resident_bytes": entry.peak_resident_bytes,
        "full_precision_peak_resident_bytes": entry.full_precision_peak_resident_bytes, "hardware": chips(entry),
        "locked_at": entry.locked_at.isoformat(timespec="seconds"), "run": entry.run, "path": entry.path,
        "manifest": entry.manifest,
        "serving": " ".join(f"{at.endpoint}:{at.state}:{at.weight:g}" for at in entry.serving), "aliases": " ".join(entry.aliases),
    }  # fmt: skip


COLUMNS = (
    "package", "name", "status", "since", "why", "incident", "profile", "use_case", "owner", "product_owner", "model", "base",
    "runtime", "method", "format", "type", "bits", "bits_per_weight", "size_bytes", "sha256", "verdict", "worst_slice",
    "worst_drop", "worst_allowed", "worst_unit", "time_per_token_ms", "full_precision_time_per_token_ms", "tokens_per_second",
    "peak_resident_bytes", "full_precision_peak_resident_bytes", "hardware", "locked_at", "run", "path", "manifest", "serving",
    "aliases",
)  # fmt: skip
"""Of an export, in their order; there too where no package is locked yet."""


def data_frame(listed: Iterable[Listed]) -> pd.DataFrame:
    """One row a package, newest first, `row_of`'s columns; `locked_at` and `since` as times in UTC."""
    import pandas as pd

    frame = pd.DataFrame([row_of(one) for one in listed], columns=list(COLUMNS))
    for name in ("locked_at", "since"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame
