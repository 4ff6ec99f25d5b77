"""A look at the gate split is a look at its items by one artifact, whatever else is measured again beside it."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

SCRIPT = """
ALTER TABLE quantplay.attempts RENAME COLUMN evaluation_content TO items;
ALTER TABLE quantplay.attempts RENAME COLUMN evaluation TO artifact;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
