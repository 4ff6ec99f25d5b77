"""What plays 5 and 6 leave: sensitivities and the parts they are put together from, mixes, trainings; and the play at which a model left the playbook."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

RECORD = """
CREATE TABLE quantplay.{name} (
    key text PRIMARY KEY CONSTRAINT {name}_key_is_digest CHECK (key ~ '^[0-9a-f]{{64}}$'),
    content text NOT NULL,
    canonical text NOT NULL,
    body jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
    {column} text GENERATED ALWAYS AS (canonical::jsonb->>'{column}') STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

# Runs that ended before plays 5 and 6 were there left at the play that gave them their last candidate.
LEFT_AT = """
ALTER TABLE quantplay.runs ADD COLUMN left_at text;
UPDATE quantplay.runs SET left_at = CASE
    WHEN EXISTS (SELECT FROM quantplay.run_plays WHERE run_plays.run = runs.id AND play = 'ptq') THEN 'ptq'
    WHEN outcome = 'envelope_missed' THEN 'envelope'
END WHERE state = 'finished' AND outcome <> 'awaiting_signature';
"""


def upgrade() -> None:
    columns = {"sensitivities": "model", "scan_parts": "scan", "mixes": "sensitivity", "trainings": "weights"}
    script = "".join(RECORD.format(name=name, column=column) for name, column in columns.items()) + LEFT_AT
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
