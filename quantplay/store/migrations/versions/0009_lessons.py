"""An incident closes only with a lesson and where it was folded in. What was closed before stays as it is."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

# NOT VALID: rows that are there are not looked at, every one that is written from now on is.
SCRIPT = """
ALTER TABLE quantplay.incidents
    ADD COLUMN lesson text,
    ADD COLUMN folded_into text,
    ADD COLUMN folded_where text;
ALTER TABLE quantplay.incidents ADD CONSTRAINT incidents_closed_with_a_lesson CHECK (
    closed_at IS NULL OR (
        btrim(coalesce(closed_by, '')) <> '' AND btrim(coalesce(resolution, '')) <> '' AND btrim(coalesce(lesson, '')) <> ''
        AND coalesce(folded_into, '') IN ('standard', 'calibration', 'evaluation_item', 'documentation')
        AND btrim(coalesce(folded_where, '')) <> ''
    )
) NOT VALID;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
