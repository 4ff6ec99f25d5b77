"""Which gateways are there and what they go by, and feedback that reached another gateway than the one that answered."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

SCRIPT = """
CREATE TABLE quantplay.live_gateways (
    source uuid PRIMARY KEY,
    name text NOT NULL,
    versions jsonb NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE quantplay.live_feedback (
    id text NOT NULL,
    client text NOT NULL,
    signal text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id, client, signal)
);
CREATE INDEX live_feedback_at ON quantplay.live_feedback (at);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
