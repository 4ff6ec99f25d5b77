"""What people have to hear of an endpoint: each change of its traffic once, each drift, and when the judge begins or ceases to see clearly.

Derived from what the database holds, so that nothing is lost while nobody can be told: what was told is remembered, a channel at
a time, after it was sent. A process killed in between tells it twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from quantplay.live.watch import Watched
from quantplay.store.events import Event
from quantplay.store.registry import Store
from quantplay.store.traffic import Change

NoticeKind = Literal[
    "released", "promoted", "rolled_back", "switched_off", "retired", "held", "frozen", "unjudged", "clear", "drifted"
]
Listener = Literal["on_call", "product_owner"]
LISTENERS: tuple[Listener, ...] = ("on_call", "product_owner")
TOLD = "traffic.told"
"""Kind of the event that remembers what a channel has told of an endpoint."""
DRIFTED = "traffic.drift_handled"
"""Kind of the event that says what a drift led to: its day, the reasons, what came of it."""
FIRST_LOOK_BACK = timedelta(hours=1)  # what a channel that never told anything tells of the past
TO: dict[NoticeKind, tuple[Listener, ...]] = {
    "released": ("product_owner",),
    "promoted": ("product_owner",),
    "retired": ("product_owner",),
    "rolled_back": LISTENERS,
    "switched_off": LISTENERS,
    "held": ("on_call",),
    "frozen": ("on_call",),
    "unjudged": ("on_call",),
    "clear": ("on_call",),
    "drifted": ("product_owner",),
}
STANDINGS: dict[str, NoticeKind] = {"hold": "held", "freeze": "frozen", "fault": "unjudged"}
TITLES: dict[NoticeKind, str] = {
    "released": "a quantized model gets its first traffic",
    "promoted": "the quantized model gets more traffic",
    "retired": "the quantized model is retired",
    "rolled_back": "rolled back to full precision",
    "switched_off": "the kill switch is on, full precision answers",
    "held": "no more traffic: it is not split as ordered",
    "frozen": "no more traffic: no counts arrive",
    "unjudged": "the judge can't judge",
    "clear": "the judge sees clearly again",
    "drifted": "traffic is no longer what the package was made for",
}


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing to tell, and whom."""

    endpoint: str
    revision: int | None
    kind: NoticeKind
    at: datetime
    text: str  # sentences: why, with the numbers

    @property
    def title(self) -> str:
        return f"{self.endpoint}: {TITLES[self.kind]}"

    @property
    def to(self) -> tuple[Listener, ...]:
        return TO[self.kind]


@dataclass(frozen=True, kw_only=True)
class Told:
    """Where a channel stands with an endpoint."""

    version: int = 0  # of the pointer, the last one told
    drift: str = ""  # day of the last one told, as 2026-11-21
    standing: str = ""  # held, frozen or unjudged, as told last; empty: clear


def told_so_far(store: Store, endpoint: str, channel: str, now: datetime) -> Told:
    mine = [one.body for one in store.events(kind=TOLD, subject=endpoint) if one.body["channel"] == channel]
    if mine:
        return Told(version=mine[-1]["version"], standing=mine[-1]["standing"], drift=mine[-1].get("drift", ""))
    past = now - FIRST_LOOK_BACK
    old = [one.version for one in store.traffic_changes(endpoint) if one.at < past]
    days = [one.body["day"] for one in store.events(kind=DRIFTED, subject=endpoint) if one.at < past]
    return Told(version=max(old, default=0), drift=max(days, default=""))


def remember(store: Store, endpoint: str, channel: str, told: Told) -> None:
    store.append_event("quantplay", TOLD, endpoint, {"channel": channel, **vars(told)})


def news(store: Store, watched: Watched, channel: str, now: datetime | None = None) -> tuple[tuple[Notice, ...], Told]:
    """What `channel` has not told yet of an endpoint, and what is to be remembered once it has."""
    at = now or datetime.now(UTC)
    before = told_so_far(store, watched.endpoint, channel, at)
    changes = store.traffic_changes(watched.endpoint, max(0, before.version - 1))
    drifts = [one for one in store.events(kind=DRIFTED, subject=watched.endpoint) if one.body["day"] > before.drift]
    found = [*changed(changes, before.version), *map(drifted, drifts), *standing(watched, before.standing, at)]
    after = Told(
        drift=max((one.body["day"] for one in drifts), default=before.drift),
        version=max((one.version for one in changes), default=before.version),
        standing=STANDINGS.get(watched.action, ""),
    )
    return tuple(found), after


def drifted(event: Event) -> Notice:
    text = " ".join((*event.body.get("reasons", ()), event.body["came_of_it"]))
    return Notice(endpoint=event.subject, revision=None, kind="drifted", at=event.at, text=text)


def changed(changes: Sequence[Change], told: int) -> Iterator[Notice]:
    """changes: of the pointer, oldest first, beginning with the one told last."""
    first = () if changes and changes[0].version == told else (None,)
    for before, now in pairwise((*first, *changes)):
        if now is not None:
            yield Notice(
                endpoint=now.endpoint, revision=now.revision, kind=kind_of(before, now), at=now.at,
                text=f"Revision {now.revision}, {100 * now.weight:g} % of conversations, by {now.actor}. {now.reason}",
            )  # fmt: skip


def kind_of(before: Change | None, now: Change) -> NoticeKind:
    if now.state in ("rolled_back", "retired"):
        return "rolled_back" if now.state == "rolled_back" else "retired"
    if now.kill:
        return "switched_off"
    same = before is not None and before.revision == now.revision and before.state != "locked"
    return "promoted" if same else "released"


def standing(watched: Watched, told: str, at: datetime) -> Iterator[Notice]:
    """One notice where the judge's sight changed since it was told."""
    now = STANDINGS.get(watched.action)
    if (now or "") == told:
        return
    if now is None and watched.action in ("rollback", "nobody"):
        return  # the rollback itself is told
    revision = watched.look.revision if watched.look is not None else None
    if watched.fault is not None:
        text = " ".join(str(watched.fault).split())
    else:
        text = " ".join(watched.look.verdict.reasons) if watched.look is not None else ""
    yield Notice(endpoint=watched.endpoint, revision=revision, kind=now or "clear", at=at, text=text)
