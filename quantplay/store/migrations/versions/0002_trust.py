"""What makes a result trustworthy: checks of calibration sets, sign-offs, and how long a baseline may be reused."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

SCRIPT = """
CREATE TABLE quantplay.calibration_checks (
    key text PRIMARY KEY CONSTRAINT calibration_checks_key_is_digest CHECK (key ~ '^[0-9a-f]{64}$'),
    content text NOT NULL,
    canonical text NOT NULL,
    body jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
    calibration text GENERATED ALWAYS AS (canonical::jsonb->>'calibration') STORED,
    samples integer GENERATED ALWAYS AS ((canonical::jsonb->>'samples')::integer) STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE quantplay.signoffs (
    key text PRIMARY KEY CONSTRAINT signoffs_key_is_digest CHECK (key ~ '^[0-9a-f]{64}$'),
    content text NOT NULL,
    canonical text NOT NULL,
    body jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
    run text GENERATED ALWAYS AS (canonical::jsonb->>'run') STORED,
    stage text GENERATED ALWAYS AS (canonical::jsonb->>'stage') STORED,
    role text GENERATED ALWAYS AS (canonical::jsonb->>'role') STORED,
    verdict text GENERATED ALWAYS AS (canonical::jsonb->>'verdict') STORED,
    person text GENERATED ALWAYS AS (canonical::jsonb->>'person') STORED,
    decision text GENERATED ALWAYS AS (canonical::jsonb->>'decision') STORED,
    nonce text GENERATED ALWAYS AS (canonical::jsonb->>'nonce') STORED CONSTRAINT signoffs_nonce_once UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE quantplay.baseline_sanctions (
    baseline text PRIMARY KEY REFERENCES quantplay.baselines (key),
    identity text NOT NULL,
    generation integer NOT NULL,
    measured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    reason text,
    CONSTRAINT baseline_sanctions_once UNIQUE (identity, generation)
);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
