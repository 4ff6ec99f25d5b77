"""Why a stored file stays: what is pinned, what a locked package was made of, what a run under way may still read.

A file is removed under a lock on `pins` and `runs` that lets nobody pin or open a run meanwhile: whoever pins waits, and then finds
that the file is gone and stores it anew (tasks/lock.py pins first); a run that opens afterwards makes again what is missing.
"""

from __future__ import annotations

from collections import defaultdict

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.records import Digest
from quantplay.store import runs
from quantplay.store.signoffs import OPENED

NOBODY_PINS_OR_OPENS = sa.text("LOCK TABLE quantplay.pins, quantplay.runs IN SHARE MODE")
PINNED = sa.text("SELECT DISTINCT sha256, reason FROM quantplay.pins WHERE :one = '' OR sha256 = :one")
PACKAGED = sa.text("""
    SELECT f.sha256, f.what || ' of locked package ' || left(p.key, 12)
        || coalesce(' (' || (SELECT string_agg(DISTINCT name, ', ') FROM quantplay.aliases al WHERE al.package = p.key) || ')', '')
        || coalesce(', released as ' || (SELECT string_agg(DISTINCT endpoint, ', ') FROM quantplay.policies po WHERE po.package = p.manifest), '')
        AS reason
    FROM quantplay.packages p, LATERAL (
        SELECT a.sha256, 'artifact' AS what FROM quantplay.artifacts a WHERE a.key = p.artifact
        UNION ALL
        SELECT file->>'sha256', m.kind FROM jsonb_array_elements_text(p.body#>'{made_of,inputs}') AS named (key)
        JOIN quantplay.manifests m USING (key), jsonb_array_elements(m.body->'files') AS file
    ) f
    WHERE EXISTS (SELECT FROM quantplay.runs r WHERE r.package = p.key AND r.outcome = 'locked') AND (:one = '' OR f.sha256 = :one)
""")
HELD = sa.text("""
    WITH opened AS (
        SELECT subject AS run, input.key AS kind, input.value AS content
        FROM quantplay.events e, jsonb_each_text(e.body->'inputs') AS input
        WHERE e.kind = :opened AND e.subject = ANY(:runs)
    )
    SELECT f.sha256, f.what || ' of run ' || left(f.run, 8) || ', which is under way' AS reason FROM (
        SELECT file->>'sha256' AS sha256, o.run, o.kind AS what FROM opened o
        JOIN quantplay.manifests m ON m.kind = o.kind AND m.files = o.content, jsonb_array_elements(m.body->'files') AS file
        UNION
        SELECT a.sha256, o.run, 'artifact of the model' FROM opened o
        JOIN quantplay.recipes r ON o.kind = 'model' AND r.model = o.content JOIN quantplay.artifacts a ON a.recipe = r.key
        UNION
        SELECT a.sha256, p.run::text, 'artifact' FROM quantplay.run_plays p JOIN quantplay.artifacts a USING (key)
        WHERE p.run::text = ANY(:runs)
        UNION
        SELECT t.weights, p.run::text, 'trained weights' FROM quantplay.run_plays p JOIN quantplay.trainings t USING (key)
        WHERE p.run::text = ANY(:runs)
        UNION
        SELECT e.body->>'sha256', o.run, 'checkpoint of a training' FROM quantplay.events e, opened o
        WHERE e.kind = 'training.checkpoint' AND o.kind = 'training'
    ) f WHERE :one = '' OR f.sha256 = :one
""")


def reasons(connection: Connection, sha256: str = "") -> dict[Digest, tuple[str, ...]]:
    """Digest -> why the file stays; of all files that have to stay, or of this one."""
    found: dict[str, set[str]] = defaultdict(set)
    given = {"one": sha256}
    under_way = [str(run.id) for run in runs.under_way(connection)]
    for query, values in ((PINNED, given), (PACKAGED, given), (HELD, {**given, "runs": under_way, "opened": OPENED})):
        for row in connection.execute(query, values):
            found[row.sha256].add(row.reason)
    return {name: tuple(sorted(why)) for name, why in found.items()}
