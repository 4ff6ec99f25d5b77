"""One locked package in full, as its page shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quantplay.gate.sentences import remarks
from quantplay.handoff.contents import RunResults
from quantplay.handoff.report import GateRow, Tile, gate_rows
from quantplay.handoff.words import compact, number, percent, size
from quantplay.plan import Plan
from quantplay.plays.catalogue import Listed, chips, stood
from quantplay.plays.in_full import Shown, gathered
from quantplay.records import Decision
from quantplay.store import aliases
from quantplay.store.catalogue import Entry, Wanted
from quantplay.store.events import Event
from quantplay.store.incidents import Incident
from quantplay.store.registry import Store

STANDING_TONES = {"confirmed": "good", "stale": "warn", "regressed": "bad"}
TONES = {"approve": "good", "reject": "bad", "rework": "warn"}
NAMED_KINDS = {
    "run.opened": "began the run", "run.resumed": "went on with the run", "run.awaiting": "waits for signatures",
    "run.finished": "ended the run", "run.updates": "noted which run this one updates", "signoff.recorded": "signed",
    "signoff.requested": "asked for signatures", "signoff.answered": "answered the form", "signoff.reminded": "reminded",
    "signoff.expired": "let the request expire", "play.done": "finished a play", "package.revalidated": "measured it again",
    "package.pushed": "made it known to another registry", "alias.set": "named it", "incident.opened": "opened an incident",
    "incident.closed": "closed an incident",
}  # fmt: skip
TOLD = (
    "play", "stage", "role", "verdict", "comment", "outcome", "status", "trigger", "what", "resolution", "lesson", "reason", "kind",
)  # fmt: skip
"""What of an event's body is told, in this order."""


@dataclass(frozen=True, kw_only=True)
class Happened:
    """An event in words."""

    seq: int
    at: datetime
    who: str
    what: str
    told: str


@dataclass(frozen=True, kw_only=True)
class Whole:
    """All that is shown of one package."""

    found: Shown
    plan: Plan | None
    gate: tuple[GateRow, ...]
    remarks: tuple[str, ...]
    tiles: tuple[Tile, ...]
    incidents: tuple[Incident, ...]
    happened: tuple[Happened, ...]

    @property
    def listed(self) -> Listed:
        return self.found.listed

    @property
    def entry(self) -> Entry:
        return self.found.listed.entry

    @property
    def tone(self) -> str:
        return "bad" if self.entry.incident is not None else STANDING_TONES[self.listed.standing.status]


def whole(store: Store, name: str, now: datetime) -> Whole:
    """Raises InputError where no package has this key or alias."""
    entry = store.package_named(name)
    (listed,) = stood(store.find_packages(Wanted(keys=(entry.key,))), None, now)
    found, plan = gathered(store, listed), store.get_plan(entry.plan)
    incidents = tuple(one for one in store.list_incidents() if one.package in (entry.key, entry.manifest))
    return Whole(
        found=found,
        plan=plan,
        gate=rows_of(plan, found.decision),
        remarks=remarks(found.decision) if found.decision is not None else (),
        tiles=tuple(tiles_of(entry)),
        incidents=incidents,
        happened=happened(store, found, incidents),
    )


def rows_of(plan: Plan | None, decision: Decision | None) -> tuple[GateRow, ...]:
    """The gate table of the report."""
    if plan is None or decision is None:
        return ()
    return tuple(gate_rows(RunResults(run="", plan=plan, decision=decision)))


def tiles_of(entry: Entry) -> Iterable[Tile]:
    if (worst := entry.worst) is not None:
        digits = 1 if worst.unit == "points" else 3
        yield Tile(
            label="Nearest to what is allowed", value=f"{number(worst.drop, digits)} {worst.unit}",
            note=f"{worst.slice}: {worst.max_drop:g} allowed, at most {number(worst.upper, digits)}",
        )  # fmt: skip
    if entry.size_bytes is not None:
        bits = f"{entry.bits_per_weight:.2f} bits a weight" if entry.bits_per_weight else ""
        yield Tile(label="File to serve", value=size(entry.size_bytes), note=bits)
    if entry.time_per_token_ms is not None:
        full = entry.full_precision_time_per_token_ms
        ratio = f"× {number(entry.time_per_token_ms / full, 2)} of full precision's {compact(full)} ms" if full else ""
        yield Tile(label="Time per token (median)", value=f"{compact(entry.time_per_token_ms)} ms", note=ratio)
    if entry.peak_resident_bytes is not None:
        full = entry.full_precision_peak_resident_bytes
        yield Tile(
            label="Peak memory", value=size(entry.peak_resident_bytes),
            note=f"full precision takes {size(full)}" if full else "",
        )  # fmt: skip


def facts_of(entry: Entry) -> list[tuple[str, str]]:
    """What a person asks first; nothing that is not known."""
    given = {
        "Use case": entry.use_case,
        "Profile": entry.profile,
        "Base model": entry.source,
        "Content of the base model": entry.base or "",
        "Method": entry.method or "",
        "Format and type": f"{entry.format} {entry.type}" if entry.format else "",
        "Runs in": entry.runtime,
        "Measured on": chips(entry) or "not noted",
        "ML engineer": entry.owner,
        "Product owner": entry.product_owner,
        "Folder": entry.path,
        "Package": entry.key,
        "Manifest": entry.manifest,
        "File": entry.sha256 or "",
    }
    return [(name, told) for name, told in given.items() if told]


def serving_words(entry: Entry) -> list[str]:
    return [f"{at.endpoint}: {at.state}, {percent(at.weight, 0)} of conversations" for at in entry.serving]


def happened(store: Store, found: Shown, incidents: Iterable[Incident]) -> tuple[Happened, ...]:
    """Who did what when, oldest first: the events of its run, of itself, its names and its incidents."""
    entry = found.listed.entry
    run = store.get_run(entry.run)
    plays = {play.key for play in run.plays} if run is not None else set()
    names = {one.name for one in found.names}
    about = {entry.run, entry.key, *plays, *names, *(str(one.id) for one in incidents)}
    return tuple(
        told(event)
        for event in store.events(subjects=sorted(about))
        if event.kind != aliases.SET or event.body["package"] == entry.key
    )


def told(event: Event) -> Happened:
    body: Mapping[str, Any] = event.body
    parts = [str(body[name]) for name in TOLD if isinstance(body.get(name), str) and body[name]]
    if event.kind == aliases.SET:
        parts.insert(0, event.subject)
    return Happened(
        seq=event.seq, at=event.at, who=event.actor, what=NAMED_KINDS.get(event.kind, event.kind), told=", ".join(parts)
    )
