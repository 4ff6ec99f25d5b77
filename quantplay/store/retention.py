"""What is kept of the past: minutes become hours, and of the judge's routine words one an hour is enough. Sums stay exact."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

HOURS = "00000000-0000-0000-0000-000000000000"  # the source of rows that hold an hour of all gateways

# A gateway writes a minute again for a quarter of an hour at most, so none is counted twice that is hours old.
ROLL_UP = sa.text("""
WITH gone AS (
    DELETE FROM quantplay.live_counters WHERE minute > 0 AND minute < :before AND source <> :hours
    RETURNING endpoint, revision, minute, arm, name, value
)
INSERT INTO quantplay.live_counters AS kept (endpoint, revision, minute, arm, name, source, value)
SELECT endpoint, revision, minute / 60 * 60, arm, name, CAST(:hours AS uuid), sum(value) FROM gone GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (endpoint, revision, minute, arm, name, source) DO UPDATE SET value = kept.value + excluded.value
""")

THIN_OUT = sa.text("""
DELETE FROM quantplay.live_judgements AS said
WHERE at < :before AND verdict LIKE '%"action":"continue"%' AND EXISTS (
    SELECT FROM quantplay.live_judgements AS later
    WHERE later.endpoint = said.endpoint AND later.revision = said.revision
      AND later.at > said.at AND later.at < date_trunc('hour', said.at) + interval '1 hour'
)
""")

FORGET_WORDS = sa.text("""
DELETE FROM quantplay.live_judgements AS said
WHERE at < :before AND verdict LIKE '%"action":"continue"%' AND EXISTS (
    SELECT FROM quantplay.live_judgements AS later
    WHERE later.endpoint = said.endpoint AND later.revision = said.revision AND later.at > said.at
)
""")


def roll_up(connection: Connection, before_minute: int) -> None:
    """Minutes before `before_minute` (Unix time // 60, a whole hour) become hours, which stand at their first minute."""
    connection.execute(ROLL_UP, {"before": before_minute // 60 * 60, "hours": HOURS})


def thin_out(connection: Connection, *, hourly_before: datetime, none_before: datetime) -> None:
    """Of verdicts to continue keep the last of each hour, then none; what was done, and a revision's last word, stay for good."""
    connection.execute(THIN_OUT, {"before": hourly_before})
    connection.execute(FORGET_WORDS, {"before": none_before})
