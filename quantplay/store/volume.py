"""What adoption is counted from: requests a day, endpoint and arm; policies; how every run went; what plans say money is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.plan import BusinessCase
from quantplay.records import Digest
from quantplay.records.traffic import ServedBy
from quantplay.store.signoffs import OPENED


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What gateways counted of one revision's arm, which was assigned."""

    endpoint: str
    revision: int
    arm: ServedBy
    day: date | None  # UTC; None: since they began to count
    requests: int
    tokens: int | None  # of answers; None where none was counted, which is what a gateway that sees no tokens leaves
    other_arm: int  # conversations in which the other arm answered at least once


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a revision of an endpoint served."""

    endpoint: str
    revision: int
    package: Digest | None  # manifest of the package
    quantized_model: str  # names that the two servers list
    full_precision_model: str
    since: datetime  # UTC
    taken_back: bool  # it was rolled back, by the judge or by hand


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How a run went."""

    run: str
    name: str  # of the plan
    source: str  # of the model, as the plan writes it
    model: Digest | None  # content of the pinned model; None where the run was opened without saying
    state: str
    outcome: str | None
    left_at: str | None
    package: Digest | None
    started_at: datetime  # UTC
    finished_at: datetime | None
    wrong_moves: tuple[str, ...]  # why play 2 said that quantizing is the wrong move


COUNTED = """
SELECT endpoint, revision, arm, CASE WHEN minute > 0 THEN minute / 1440 END AS day,
    coalesce(sum(value) FILTER (WHERE name = 'requests'), 0) AS requests,
    sum(value) FILTER (WHERE name = 'tokens') AS tokens,
    coalesce(sum(value) FILTER (WHERE name = 'other_arm'), 0) AS other_arm
FROM quantplay.live_counters
WHERE name IN ('requests', 'tokens', 'other_arm') AND {when}
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
POLICIES = """
SELECT p.endpoint, p.revision, p.package, p.body#>>'{quantized,model}' AS quantized_model,
    p.body#>>'{full_precision,model}' AS full_precision_model, p.created_at AS since,
    EXISTS (
        SELECT FROM quantplay.traffic_changes c
        WHERE c.endpoint = p.endpoint AND c.revision = p.revision AND c.state = 'rolled_back'
    ) AS taken_back
FROM quantplay.policies p ORDER BY 1, 2
"""
TRIED = """
SELECT r.id::text AS run, pl.name, pl.model AS source, e.body#>>'{inputs,model}' AS model, r.state, r.outcome, r.left_at, r.package,
    r.started_at, r.finished_at, w.moves AS wrong_moves
FROM quantplay.runs r
JOIN quantplay.plans pl ON pl.key = r.plan
LEFT JOIN quantplay.events e ON e.kind = :opened AND e.subject = r.id::text
LEFT JOIN LATERAL (
    SELECT en.body->'wrong_moves' AS moves FROM quantplay.run_plays rp JOIN quantplay.envelopes en ON en.key = rp.key
    WHERE rp.run = r.id AND rp.play = 'envelope' AND r.outcome = 'declined' ORDER BY rp.started_at DESC LIMIT 1
) w ON true
ORDER BY r.started_at, r.id
"""
CASES = "SELECT key, body->'business_case' AS told FROM quantplay.plans WHERE jsonb_typeof(body->'business_case') = 'object'"


def counted(connection: Connection, since: date | None) -> tuple[Counted, ...]:
    """A row a day from `since` on; None: one row since gateways began to count, from the sums that are kept for good."""
    if since is None:
        rows = connection.execute(sa.text(COUNTED.format(when="minute = 0")))
    else:
        first = int(datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp()) // 60
        rows = connection.execute(sa.text(COUNTED.format(when="minute >= :first")), {"first": max(first, 1)})
    return tuple(
        Counted(
            endpoint=row.endpoint, revision=row.revision, arm=row.arm, day=day_of(row.day), requests=int(row.requests),
            tokens=None if row.tokens is None else int(row.tokens), other_arm=int(row.other_arm),
        )
        for row in rows
    )  # fmt: skip


def day_of(number: int | None) -> date | None:
    """Days since 1970, UTC."""
    return None if number is None else datetime.fromtimestamp(number * 86_400, UTC).date()


def policies(connection: Connection) -> tuple[Policy, ...]:
    rows = connection.execute(sa.text(POLICIES)).mappings()
    return tuple(Policy(**{**row, "since": row["since"].astimezone(UTC)}) for row in rows)


def tried(connection: Connection) -> tuple[Tried, ...]:
    """Every run, oldest first."""
    rows = connection.execute(sa.text(TRIED), {"opened": OPENED}).mappings()
    return tuple(
        Tried(**{
            **row, "wrong_moves": tuple(row["wrong_moves"] or ()), "started_at": row["started_at"].astimezone(UTC),
            "finished_at": row["finished_at"].astimezone(UTC) if row["finished_at"] is not None else None,
        })
        for row in rows
    )  # fmt: skip


def business_cases(connection: Connection) -> Mapping[Digest, BusinessCase]:
    """Plan -> what it says that serving costs and quantizing saves, of plans that say it."""
    rows = connection.execute(sa.text(CASES)).mappings()
    return {row["key"]: BusinessCase.model_validate(row["told"]) for row in rows}
