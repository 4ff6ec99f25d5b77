"""How each person was identified who signed: `ssh`, or the OpenID provider that vouched for them."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

SCRIPT = """
ALTER TABLE quantplay.signoffs
    ADD COLUMN identified_by text GENERATED ALWAYS AS (coalesce(canonical::jsonb#>>'{login,issuer}', 'ssh')) STORED;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
