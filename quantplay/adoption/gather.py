"""From the product database to the facts of adoption."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from quantplay.adoption.facts import Facts, Package, Past, WentWrong
from quantplay.adoption.served import Directory
from quantplay.adoption.sources import Source, volume_of
from quantplay.plays.catalogue import OF_AN_EARLIER_VERSION, standing_of
from quantplay.plays.funnel import Passage
from quantplay.plays.regressions import counted, regressions_of
from quantplay.records import Digest, StandingStatus
from quantplay.store.catalogue import Entry
from quantplay.store.registry import Store
from quantplay.store.volume import Tried

MEASURED = "adoption.measured"
"""Kind of the event a weekly look leaves."""
SUBJECT = "adoption"


def gather(store: Store, source: Source, now: datetime) -> Facts:
    tried = store.tried_models()
    directory = directory_of(store, source, tried, now)
    volume = volume_of(store, source, directory)
    return Facts(
        now=now, volume=volume, packages=directory.packages, tried=tried,
        passages=tuple(
            Passage(run=str(one.run), model=one.model, plays=one.plays, left_at=one.left_at, outcome=one.outcome)  # type: ignore[arg-type]
            for one in store.passages()
        ),
        jobs=store.list_jobs(), went_wrong=went_wrong(store, volume.since), past=past(store, source.kind),
    )  # fmt: skip


def directory_of(store: Store, source: Source, tried: Sequence[Tried], now: datetime) -> Directory:
    entries, cases = store.find_packages(), store.business_cases()
    trained = {one.package for one in tried if one.left_at == "training"}
    packages: dict[Digest, Package] = {}
    named: dict[str, Digest] = {}
    for entry in entries:
        status, why = last_measured(entry, now)
        packages[entry.key] = Package(
            key=entry.key, name=entry.name, model=entry.base, type=entry.type or "type not noted", locked_on=entry.locked_at.astimezone(UTC).date(),
            status=status, why=why, incident=entry.incident, case=cases.get(entry.plan), trained=entry.key in trained,
            freed_bytes=freed(entry),
        )  # fmt: skip
        for name in (entry.key, entry.manifest, entry.sha256, *entry.aliases):
            if name is not None:
                named.setdefault(name, entry.key)  # the newest, where a file or a manifest is several packages'
    models: dict[str, Digest] = {}
    for one in tried:
        if one.model is not None:
            models |= {one.name: one.model, one.source: one.model, one.model: one.model}
    imports: dict[str, Digest] = {}
    for elsewhere in store.list_imports():  # newest first
        for name in (elsewhere.key, elsewhere.told.name):
            imports.setdefault(name, elsewhere.told.base)
    policies = store.policies_there()
    to_split = sorted({one.endpoint for one in policies} & source.unsplit)
    return Directory(
        packages=packages, named=named, models=models, policies={(one.endpoint, one.revision): one for one in policies},
        changes={name: store.traffic_changes(name) for name in to_split}, now=now, imports=imports,
    )  # fmt: skip


def last_measured(entry: Entry, now: datetime) -> tuple[StandingStatus, str]:
    """How it stood on the machine that measured it last, and stale when that is long ago.

    The machine that asks here is seldom one that serves, so its stack says nothing; `quantplay registry` compares with it.
    """
    measured_on = entry.newest.stack if entry.newest is not None else entry.stack
    if measured_on is None:
        return "stale", OF_AN_EARLIER_VERSION
    found = standing_of(entry, measured_on, now, lambda before, today: ())
    return found.status, found.why


def freed(entry: Entry) -> int | None:
    if entry.peak_resident_bytes is None or entry.full_precision_peak_resident_bytes is None:
        return None
    return entry.full_precision_peak_resident_bytes - entry.peak_resident_bytes


def went_wrong(store: Store, since: date) -> WentWrong:
    found, incidents = regressions_of(store), store.list_incidents()
    still = sum(one.closed_at is None for one in incidents)
    return WentWrong(
        seen_first=counted(found), of_period=counted(one for one in found if one.at.astimezone(UTC).date() >= since),
        incidents_open=still, incidents_closed=len(incidents) - still,
    )  # fmt: skip


def past(store: Store, kind: str) -> tuple[Past, ...]:
    """What weekly looks at the same kind of source found, oldest first."""
    found = [one.body for one in store.events(kind=MEASURED, subject=SUBJECT)]
    return tuple(
        Past(
            day=date.fromisoformat(body["day"]),
            source=body["source"],
            requests=body["requests"],
            covered=body["covered"],
        )
        for body in found
        if body["source"] == kind
    )
