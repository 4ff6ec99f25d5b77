"""From volume as a source tells it to what served it: by the package it names, by a served name, or by the share in force. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from quantplay.adoption.facts import Arm, Package, Served
from quantplay.records import Digest
from quantplay.records.traffic import SERVING
from quantplay.store.traffic import Change
from quantplay.store.volume import Counted, Policy

FULL_PRECISION = "full_precision"
"""What a source names in place of a package where nothing quantized served."""
LEAST_DIGITS = 8  # of a key or digest that is cut short


@dataclass(frozen=True, kw_only=True)
class Told:
    """A day of an endpoint or a model, as a source outside of our gateways tells it."""

    name: str
    is_endpoint: bool
    day: date
    requests: int
    tokens: int | None
    package: str | None = (
        None  # what served: key, alias, manifest or file of a package, or FULL_PRECISION; None: not told
    )


@dataclass(frozen=True, kw_only=True)
class Directory:
    """What names mean here."""

    packages: Mapping[Digest, Package]
    named: Mapping[str, Digest]  # key, alias, manifest, file's SHA-256 -> key of the package
    models: Mapping[str, Digest]  # plan's name, source or content -> content of the newest such model
    policies: Mapping[tuple[str, int], Policy]
    changes: Mapping[str, tuple[Change, ...]]  # endpoint -> its traffic, oldest first
    now: datetime
    imports: Mapping[str, Digest] = field(
        default_factory=dict
    )  # name or SHA-256 of what was quantized elsewhere -> its base model

    def imported(self, name: str) -> Digest | None:
        return beginning_with(name, self.imports)

    def package(self, name: str | None) -> Digest | None:
        return None if name is None else beginning_with(name, self.named)

    def model(self, name: str) -> Digest | None:
        return beginning_with(name, self.models)

    def of_revision(self, endpoint: str, revision: int) -> tuple[Digest | None, Digest | None, bool]:
        """Key of its package, content of that one's model, and whether it was taken back."""
        policy = self.policies.get((endpoint, revision))
        key = self.package(policy.package) if policy is not None else None
        return key, self.packages[key].model if key else None, policy is not None and policy.taken_back


def beginning_with(name: str, known: Mapping[str, Digest]) -> Digest | None:
    """What `name` stands for, also where it is the beginning of one digest."""
    if name in known:
        return known[name]
    if re.fullmatch(rf"[0-9a-fA-F]{{{LEAST_DIGITS},63}}", name) is None:
        return None
    found = {key for text, key in known.items() if len(text) == 64 and text.startswith(name.lower())}
    return found.pop() if len(found) == 1 else None


def by_gateway(rows: Sequence[Counted], directory: Directory) -> Iterator[Served]:
    """What our gateways counted. A conversation that the other arm answered in part gives one of its requests to that arm."""
    for row in rows:
        package, model, taken_back = directory.of_revision(row.endpoint, row.revision)

        def served(
            arm: Arm, requests: int, tokens: int | None, *, row: Counted = row, package: Digest | None = package,
            model: Digest | None = model, taken_back: bool = taken_back,
        ) -> Served:  # fmt: skip
            quantized = arm == "quantized"
            return Served(
                name=row.endpoint, model=model, arm=arm, package=package if quantized else None,
                taken_back=quantized and taken_back, day=row.day, requests=requests, tokens=tokens,
            )  # fmt: skip

        moved = min(row.other_arm, row.requests) if row.arm == "quantized" else 0
        if moved:
            tokens = None if row.tokens is None else round(row.tokens * moved / row.requests)
            yield served("full_precision", moved, tokens)
            rest = None if row.tokens is None or tokens is None else row.tokens - tokens
            yield served("quantized", row.requests - moved, rest)
        elif row.requests:
            yield served(row.arm, row.requests, row.tokens)


def resolved(told: Sequence[Told], directory: Directory) -> Iterator[Served]:
    for one in told:
        if one.package is not None or not one.is_endpoint:
            yield of_name(one, directory)
        else:
            yield from by_share(one, directory)


def of_name(one: Told, directory: Directory) -> Served:
    """By the package that is told, else by what is served under this name; who only names a model has not told what served."""

    def served(arm: Arm, model: Digest | None, package: Digest | None = None, taken_back: bool = False) -> Served:
        return Served(
            name=one.name, model=model, arm=arm, package=package, taken_back=taken_back, day=one.day, requests=one.requests,
            tokens=one.tokens,
        )  # fmt: skip

    known = model_named(one, directory)
    if one.package == FULL_PRECISION:
        return served("full_precision", known)
    if one.package is not None:
        key = directory.package(one.package)
        base = directory.packages[key].model if key else directory.imported(one.package)
        return served("quantized", base or known, key)
    key = directory.package(one.name)
    if key is not None:
        return served("quantized", directory.packages[key].model, key)
    if known is None and (base := directory.imported(one.name)) is not None:
        return served("quantized", base)
    quantized = [policy for policy in directory.policies.values() if policy.quantized_model == one.name]
    full = [policy for policy in directory.policies.values() if policy.full_precision_model == one.name]
    if quantized and not full and len({policy.package for policy in quantized}) == 1:
        key = directory.package(quantized[0].package)
        taken_back = all(policy.taken_back for policy in quantized)
        return served("quantized", directory.packages[key].model if key else None, key, taken_back)
    if full and not quantized:
        return served("full_precision", known)
    return served("untold", known)


def model_named(one: Told, directory: Directory) -> Digest | None:
    """The full-precision model behind a name: of an endpoint, or of a server's name, that of the newest package there."""
    found = directory.model(one.name)
    if found is not None and not one.is_endpoint:
        return found
    there = [
        policy for (endpoint, _), policy in directory.policies.items()
        if (endpoint == one.name if one.is_endpoint else one.name in (policy.quantized_model, policy.full_precision_model))
    ]  # fmt: skip
    for policy in sorted(there, key=lambda policy: (policy.since, policy.revision), reverse=True):
        key = directory.package(policy.package)
        if key is not None:
            return directory.packages[key].model
    return None


def by_share(one: Told, directory: Directory) -> Iterator[Served]:
    """An endpoint whose arms nobody told apart: split as its traffic was over that day."""
    parts = shares(directory.changes.get(one.name, ()), one.day, directory.now)
    requests = apportioned(one.requests, [part for *_, part in parts])
    tokens = [None] * len(parts) if one.tokens is None else apportioned(one.tokens, [part for *_, part in parts])
    for (revision, arm, _), asked, counted in zip(parts, requests, tokens, strict=True):
        if revision is None:
            package, model, taken_back = None, model_named(one, directory), False
        else:
            package, model, taken_back = directory.of_revision(one.name, revision)
        if asked:
            quantized = arm == "quantized"
            yield Served(
                name=one.name, model=model, arm=arm, package=package if quantized else None,
                taken_back=quantized and taken_back, day=one.day, requests=asked, tokens=counted,
            )  # fmt: skip


def shares(changes: Sequence[Change], day: date, now: datetime) -> list[tuple[int | None, Arm, float]]:
    """(revision, arm, part of the day so far); together 1. What lies before the endpoint's first change nobody told."""
    begin = datetime.combine(day, time(), UTC)
    end = max(min(begin + timedelta(days=1), now), begin + timedelta(seconds=1))
    whole = (end - begin).total_seconds()
    found: dict[tuple[int | None, Arm], float] = {}

    def add(revision: int | None, arm: Arm, seconds: float) -> None:
        if seconds > 0:
            found[revision, arm] = found.get((revision, arm), 0.0) + seconds / whole

    first = changes[0].at if changes else end
    add(None, "untold", (min(first, end) - begin).total_seconds())
    for place, change in enumerate(changes):
        until = changes[place + 1].at if place + 1 < len(changes) else end
        seconds = (min(until, end) - max(change.at, begin)).total_seconds()
        weight = change.weight if change.state in SERVING and not change.kill else 0.0
        add(change.revision, "quantized", seconds * weight)
        add(change.revision, "full_precision", seconds * (1 - weight))
    return [(revision, arm, part) for (revision, arm), part in found.items()]


def apportioned(whole: int, parts: Sequence[float]) -> list[int]:
    """Whole numbers next to `parts` of `whole` that add up to it."""
    total, sofar, given, found = sum(parts), 0.0, 0, []
    for part in parts:
        sofar += part
        upto = min(whole, round(whole * (sofar / total)))
        found.append(upto - given)
        given = upto
    return [*found[:-1], found[-1] + whole - given] if found else found
