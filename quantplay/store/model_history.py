"""What happened to a model over time: its runs and packages, the names that moved, where they served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.records import Digest
from quantplay.store.signoffs import OPENED


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One thing that happened."""

    at: datetime
    what: str  # run | alias | traffic
    name: str  # of the plan, the alias, the endpoint
    model: Digest | None  # content of the pinned model
    run: str | None
    package: Digest | None  # key
    state: str  # outcome or state of the run; reason of the alias; state of the traffic
    by: str | None
    replaces: Digest | None  # key of the package that it takes the place of


QUERY = """
WITH chosen AS (
    SELECT r.id, r.started_at, coalesce(r.outcome, r.state) AS state, r.package, pl.name, pl.body->>'updates' AS updates,
        e.actor, e.body#>>'{inputs,model}' AS model
    FROM quantplay.runs r JOIN quantplay.plans pl ON pl.key = r.plan
    LEFT JOIN quantplay.events e ON e.kind = :opened AND e.subject = r.id::text
    WHERE pl.name = :model OR pl.body#>>'{model,source}' = :model
        OR (length(:model) >= 6 AND starts_with(coalesce(e.body#>>'{inputs,model}', ''), lower(:model)))
), mine AS (SELECT DISTINCT p.key, p.manifest FROM chosen JOIN quantplay.packages p ON p.key = chosen.package),
named AS (
    SELECT *, lag(package) OVER (PARTITION BY name ORDER BY version) AS before FROM quantplay.aliases
), moved AS (
    SELECT c.*, po.package AS manifest,
        lag(po.package) OVER (PARTITION BY c.endpoint ORDER BY c.version) AS before
    FROM quantplay.traffic_changes c JOIN quantplay.policies po USING (endpoint, revision)
)
SELECT started_at AS at, 'run' AS what, name, model, id::text AS run, chosen.package, state, actor AS by,
    (SELECT u.package FROM quantplay.runs u WHERE starts_with(u.id::text, chosen.updates) LIMIT 1) AS replaces
FROM chosen
UNION ALL
SELECT at, 'alias', name, NULL, NULL, package, reason, actor, before FROM named
WHERE package IN (SELECT key FROM mine) OR before IN (SELECT key FROM mine)
UNION ALL
SELECT at, 'traffic', endpoint, NULL, NULL, k.key, state || ', ' || round((100 * weight)::numeric, 1) || ' %: ' || reason, actor,
    (SELECT p.key FROM quantplay.packages p WHERE p.manifest = moved.before AND moved.before <> moved.manifest LIMIT 1)
FROM moved JOIN mine k ON k.manifest = moved.manifest
ORDER BY at, what
"""


def of_model(connection: Connection, model: str) -> tuple[Moment, ...]:
    """Oldest first. model: a plan's name, a model's source as a plan writes it, or the first characters of its digest."""
    rows = connection.execute(sa.text(QUERY), {"model": model, "opened": OPENED}).mappings()
    return tuple(Moment(**row) for row in rows)
