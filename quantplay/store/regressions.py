"""Models that got worse, as they are on record: refused by the gate, found by a re-validation, taken back from users. One query each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.records import Digest


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A candidate that the gate, or somebody who signs, did not let pass."""

    artifact: Digest  # sha256 of its file
    decision: Digest  # content of the record
    verdict: str  # close | broken | rejected
    name: str  # of the plan
    run: str
    at: datetime  # first time
    locked: bool  # the same file is in a locked package all the same


@dataclass(frozen=True, kw_only=True)
class WentWrong:
    """An incident, with who was served its package when it was opened."""

    id: str
    kind: str
    package: Digest  # key where it is known, else as the incident names it
    name: str  # of the plan; empty where the package is not on record
    what: str
    opened_at: datetime
    closed_at: datetime | None
    served_at: tuple[str, ...]  # endpoints that gave it to somebody at that moment


@dataclass(frozen=True, kw_only=True)
class TakenBack:
    """A rollback by the judge of a file that has no package, so that no incident tells of it."""

    endpoint: str
    revision: int
    version: int  # of the pointer
    artifact: Digest
    reason: str
    at: datetime


REFUSED = """
WITH said AS (
    SELECT d.content, d.evaluation, d.verdict, rp.started_at AS at, r.id AS run, r.plan
    FROM quantplay.run_plays rp
    JOIN quantplay.decisions d ON d.key = rp.key AND rp.play = 'gate'
    JOIN quantplay.runs r ON r.id = rp.run
    WHERE d.verdict IN ('close', 'broken') AND r.profile <> 'explore'
    UNION ALL
    SELECT d.content, d.evaluation, 'rejected', s.created_at, r.id, r.plan
    FROM quantplay.signoffs s
    JOIN quantplay.runs r ON r.id::text = s.run
    JOIN LATERAL (SELECT content, evaluation FROM quantplay.decisions WHERE content = s.decision LIMIT 1) d ON true
    WHERE s.verdict = 'reject' AND s.stage IN ('gate', 'lock')
)
SELECT DISTINCT ON (e.artifact) e.artifact, said.content AS decision, said.verdict, pl.name, said.run::text AS run, said.at,
    EXISTS (
        SELECT FROM quantplay.packages p JOIN quantplay.artifacts a ON a.key = p.artifact
        JOIN quantplay.runs l ON l.package = p.key AND l.outcome = 'locked' WHERE a.sha256 = e.artifact
    ) AS locked
FROM said
JOIN quantplay.plans pl ON pl.key = said.plan
JOIN quantplay.evaluations e ON e.content = said.evaluation
ORDER BY e.artifact, said.at, said.run
"""
WENT_WRONG = """
WITH served AS (
    SELECT c.endpoint, c.state, c.weight, c.kill, po.package, c.at,
        lead(c.at) OVER (PARTITION BY c.endpoint ORDER BY c.version) AS until
    FROM quantplay.traffic_changes c JOIN quantplay.policies po USING (endpoint, revision)
)
SELECT i.id::text AS id, i.kind, coalesce(p.key, i.package) AS package, coalesce(pl.name, '') AS name, i.what, i.opened_at,
    i.closed_at, ARRAY(
        SELECT DISTINCT endpoint FROM served
        WHERE served.package IN (i.package, p.key, p.manifest) AND state IN ('canary', 'live') AND weight > 0 AND NOT kill
            AND at <= i.opened_at AND (until IS NULL OR until > i.opened_at) ORDER BY endpoint
    ) AS served_at
FROM quantplay.incidents i
LEFT JOIN LATERAL (
    SELECT key, manifest FROM quantplay.packages WHERE i.package IN (key, manifest) ORDER BY created_at, key LIMIT 1
) p ON true
LEFT JOIN LATERAL (SELECT plan FROM quantplay.runs WHERE package = p.key ORDER BY started_at, id LIMIT 1) r ON true
LEFT JOIN quantplay.plans pl ON pl.key = r.plan
ORDER BY i.opened_at, i.id
"""
TAKEN_BACK = """
SELECT po.endpoint, po.revision, (e.body->>'version')::bigint AS version, po.body#>>'{quantized,artifact}' AS artifact,
    e.body->>'reason' AS reason, e.at
FROM quantplay.events e
JOIN quantplay.policies po ON po.endpoint = e.subject AND po.revision = (e.body->>'revision')::integer
WHERE e.kind = 'traffic.rolled_back' AND e.body->>'cause' IS DISTINCT FROM 'blind' AND po.package IS NULL
ORDER BY e.seq
"""


def refused(connection: Connection) -> tuple[Refused, ...]:
    """Every candidate once, however often it was refused; not those of profile explore, which were never to ship."""
    return tuple(Refused(**row) for row in rows_of(connection, REFUSED))


def went_wrong(connection: Connection) -> tuple[WentWrong, ...]:
    """Every incident, oldest first."""
    rows = rows_of(connection, WENT_WRONG)
    return tuple(WentWrong(served_at=tuple(row.pop("served_at")), **row) for row in rows)


def taken_back(connection: Connection) -> tuple[TakenBack, ...]:
    """Oldest first. That nobody was counted any more (cause: blind) is no loss, so it is not among them."""
    return tuple(TakenBack(**row) for row in rows_of(connection, TAKEN_BACK))


def rows_of(connection: Connection, query: str) -> Iterator[dict[str, Any]]:
    return (dict(row) for row in connection.execute(sa.text(query)).mappings())
