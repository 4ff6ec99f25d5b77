"""Artifacts that were quantized elsewhere, and what finds the measurements of a file."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

SCRIPT = """
CREATE TABLE quantplay.imports (
    key text PRIMARY KEY CONSTRAINT imports_key_is_digest CHECK (key ~ '^[0-9a-f]{64}$'),
    content text NOT NULL,
    canonical text NOT NULL,
    body jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
    base text GENERATED ALWAYS AS (canonical::jsonb->>'base') STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX artifacts_by_file ON quantplay.artifacts (sha256);
CREATE INDEX evaluations_by_file ON quantplay.evaluations (artifact);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
