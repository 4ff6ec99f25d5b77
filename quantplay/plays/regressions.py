"""How often a quantized model got worse, and who saw it first: the gate, a re-validation, or users.

One candidate, or one package until it is mended, counts once, where it was seen first. docs/incidents.md says what counts as what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from quantplay.records import Digest
from quantplay.store.regressions import Refused, TakenBack, WentWrong

if TYPE_CHECKING:
    from quantplay.store.registry import Store

Seen = Literal["gate", "revalidation", "production"]
"""gate: refused before anything shipped; revalidation: found while nobody was served; production: it reached users."""
SEEN: tuple[Seen, ...] = get_args(Seen)
LIVE = "live rollback"  # kind of the incident of a judge's rollback: what it took back did serve


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A model that got worse, and where that was seen first."""

    seen: Seen
    at: datetime
    name: str  # of the plan, or of the endpoint where there is no package
    what: str  # a sentence
    subject: Digest  # key of the package; sha256 of the file where there is none
    evidence: str  # decision DIGEST | incident ID | traffic ENDPOINT, VERSION


def regressions_of(store: Store) -> tuple[Regression, ...]:
    """Everything on record, oldest first."""
    return regressions(store.refused_candidates(), store.incidents_served(), store.rollbacks_without_package())


def regressions(
    refused: Iterable[Refused], went_wrong: Iterable[WentWrong], taken_back: Iterable[TakenBack]
) -> tuple[Regression, ...]:
    """Oldest first. Pure: the same records give the same list."""
    found = [*at_the_gate(refused), *of_packages(went_wrong), *without_package(taken_back)]
    return tuple(sorted(found, key=lambda one: (one.at, one.evidence)))


def counted(found: Iterable[Regression]) -> dict[Seen, int]:
    """Where they were seen first -> how many; every place is there."""
    counts = Counter(one.seen for one in found)
    return {seen: counts[seen] for seen in SEEN}


def at_the_gate(refused: Iterable[Refused]) -> Iterator[Regression]:
    """A file that was locked in the end, by a larger set or another gate, was not kept from anybody."""
    for one in refused:
        if not one.locked:
            yield Regression(
                seen="gate", at=one.at, name=one.name, what=f"The gate said {one.verdict}." if one.verdict != "rejected" else "A signer said no.",
                subject=one.artifact, evidence=f"decision {one.decision}",
            )  # fmt: skip


def of_packages(went_wrong: Iterable[WentWrong]) -> Iterator[Regression]:
    """Incidents. While one of a package is open, another one is the same damage: it counts once, in production where any of them was."""
    episodes: list[list[WentWrong]] = []
    for one in sorted(went_wrong, key=lambda one: (one.opened_at, one.id)):
        same = next((told for told in reversed(episodes) if told[0].package == one.package), None)
        if same is not None and any(before.closed_at is None or before.closed_at > one.opened_at for before in same):
            same.append(one)
        else:
            episodes.append([one])
    for told in episodes:
        escaped = next((one for one in told if one.kind == LIVE or one.served_at), None)
        first = escaped or told[0]
        yield Regression(
            seen="production" if escaped is not None else "revalidation", at=told[0].opened_at, name=first.name, what=first.what,
            subject=first.package, evidence=f"incident {first.id}",
        )  # fmt: skip


def without_package(taken_back: Iterable[TakenBack]) -> Iterator[Regression]:
    for one in taken_back:
        yield Regression(
            seen="production", at=one.at, name=one.endpoint, what=one.reason, subject=one.artifact,
            evidence=f"traffic {one.endpoint}, {one.version}",
        )  # fmt: skip
