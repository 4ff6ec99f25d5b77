"""What a team's platform keeps: workers and what they have, jobs on devices, re-validations, incidents."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

SCRIPT = """
CREATE TABLE quantplay.workers (
    name text PRIMARY KEY,
    pool text NOT NULL,
    host text NOT NULL,
    device text NOT NULL,
    chip text NOT NULL,
    hardware jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at timestamptz
);

CREATE TABLE quantplay.jobs (
    id uuid PRIMARY KEY,
    run uuid REFERENCES quantplay.runs (id),
    play text NOT NULL,
    host text NOT NULL,
    device text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    outcome text
);
CREATE INDEX jobs_by_run ON quantplay.jobs (run, started_at);

CREATE TABLE quantplay.revalidations (
    key text PRIMARY KEY CONSTRAINT revalidations_key_is_digest CHECK (key ~ '^[0-9a-f]{64}$'),
    content text NOT NULL,
    canonical text NOT NULL,
    body jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
    package text GENERATED ALWAYS AS (canonical::jsonb->>'package') STORED,
    status text GENERATED ALWAYS AS (canonical::jsonb->>'status') STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE quantplay.incidents (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    package text NOT NULL,
    revalidation text,
    what text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    closed_by text,
    resolution text
);
CREATE UNIQUE INDEX incidents_one_open ON quantplay.incidents (kind, package) WHERE closed_at IS NULL;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
