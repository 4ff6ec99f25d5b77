"""What validated quantized models saved, by the numbers of their plans' business cases and the volume they really served. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from quantplay.adoption.facts import Facts, Package, Served, kind_of
from quantplay.plan import BusinessCase
from quantplay.records import Digest, Record
from quantplay.store.jobs import hours_by_play


class Saving(Record):
    """One package, since the source began to count."""

    name: str  # of the plan
    package: Digest
    requests: int  # that it served
    tokens: float | None  # behind `saved`; None where the plan has no business case
    saved: float | None  # money; None where the plan names no saving
    currency: str | None
    cost: float | None  # what quantizing it cost, as the plan says, in the same currency; None: the plan doesn't
    freed_bytes: int | None  # of memory in use, a server; None: not measured for both
    how: str  # the terms it came from, or why there is no money


class Money(Record):
    """Everything in one currency."""

    currency: str
    saved: float
    cost: float  # what the plans say that quantizing, and training where it was done, cost


class Savings(Record):
    """Only what a package served that is confirmed today; packages that are stale save nothing here."""

    since: str | None  # day from which the source knows volume; None: it knows none
    packages: tuple[Saving, ...]  # the most requests first
    money: tuple[Money, ...]  # by currency
    without_money: int  # of the packages, those whose plan names no saving
    left_out: int  # requests of quantized models that are not validated: no saving is claimed for them


class DeviceHours(Record):
    """From the moment a device was taken until it was given back; failed jobs took it too."""

    hours: float
    by_play: dict[str, float]
    jobs: int
    not_counted: int  # they still run, or their process was lost and nobody knows when it ended


def savings(facts: Facts) -> Savings:
    volume = facts.volume
    served: dict[Digest, list[Served]] = {}
    left_out = 0
    for row in volume.ever:
        kind = kind_of(row, facts.packages)
        if kind == "validated" and row.package is not None:
            served.setdefault(row.package, []).append(row)
        elif row.arm == "quantized":
            left_out += row.requests
    packages = [saving(facts.packages[key], rows, volume.all_tokens) for key, rows in served.items()]
    packages.sort(key=lambda one: (-one.requests, one.name, one.package))
    totals: dict[str, list[float]] = {}
    for one in packages:
        if one.saved is not None and one.currency is not None:
            total = totals.setdefault(one.currency, [0.0, 0.0])
            total[0] += one.saved
            total[1] += one.cost or 0.0
    return Savings(
        since=volume.ever_since.isoformat() if volume.ever_since is not None else None,
        packages=tuple(packages),
        money=tuple(Money(currency=name, saved=total[0], cost=total[1]) for name, total in sorted(totals.items())),
        without_money=sum(one.saved is None for one in packages),
        left_out=left_out,
    )


def saving(package: Package, rows: Sequence[Served], all_tokens: bool) -> Saving:
    """`all_tokens`: those of the rows are of prompts and answers; else they are of answers alone and the plan's number is taken."""
    requests, case = sum(row.requests for row in rows), package.case
    told = Saving(
        name=package.name, package=package.key, requests=requests, tokens=None, saved=None, currency=None, cost=None,
        freed_bytes=package.freed_bytes, how="The plan has no business case.",
    )  # fmt: skip
    if case is None:
        return told
    cost = case.quantizing_cost + (case.training_cost if package.trained else 0.0)
    told = told.model_copy(update={"currency": case.currency, "cost": cost or None})
    if case.serving_saving_percent == 0 or case.serving_cost_per_million_tokens == 0:
        return told.model_copy(update={"how": "The plan names no saving of serving."})
    tokens, how = tokens_of(rows, case, all_tokens)
    saved = tokens / 1e6 * case.serving_cost_per_million_tokens * case.serving_saving_percent / 100
    each = f"{case.serving_cost_per_million_tokens:,.8g} {case.currency} a million"
    how += f" x {each} x {case.serving_saving_percent:g} %"
    return told.model_copy(update={"tokens": tokens, "saved": saved, "how": how})


def tokens_of(rows: Sequence[Served], case: BusinessCase, all_tokens: bool) -> tuple[float, str]:
    """Counted where they are; a request whose tokens are not known has as many as the plan says."""
    counted = sum(row.tokens or 0 for row in rows) if all_tokens else 0
    requests = sum(row.requests for row in rows if not all_tokens or row.tokens is None)
    each = f"{requests:,} requests x {case.tokens_per_request:,.8g} tokens (plan)"
    words = [f"{counted:,} tokens (counted)"] * bool(counted) + [each] * bool(requests or not counted)
    return counted + requests * case.tokens_per_request, f"({' + '.join(words)})" if len(words) > 1 else words[0]


def device_hours(facts: Facts, since: datetime | None = None) -> DeviceHours:
    """Of all jobs on record; `since`: of those that began then or later."""
    jobs = [one for one in facts.jobs if since is None or one.started_at >= since]
    by_play = {play: hours for play, hours in hours_by_play(jobs).items() if hours}
    return DeviceHours(
        hours=sum(by_play.values()), by_play=by_play, jobs=len(jobs),
        not_counted=sum(one.finished_at is None or one.outcome == "lost" for one in jobs),
    )  # fmt: skip
