"""The registry: names for packages with a history that is only added to, and indexes for looking packages up.

The rules of an alias are the database's: its versions count up by themselves, it names locked packages only, and what it named
before stays written.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

SCRIPT = """
CREATE TABLE quantplay.aliases (
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)+$' AND length(name) <= 200),
    version integer NOT NULL,
    package text NOT NULL REFERENCES quantplay.packages (key),
    actor text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, version)
);
CREATE INDEX aliases_by_package ON quantplay.aliases (package);

CREATE FUNCTION quantplay.guard_alias() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        RAISE EXCEPTION 'the history of aliases is append-only: % refused', TG_OP USING ERRCODE = 'QP005';
    END IF;
    IF NOT EXISTS (SELECT FROM quantplay.runs WHERE package = NEW.package AND outcome = 'locked') THEN
        RAISE EXCEPTION 'an alias names a locked package, and % is none', left(NEW.package, 12) USING ERRCODE = 'QP005';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('alias ' || NEW.name));
    NEW.version := 1 + coalesce((SELECT max(version) FROM quantplay.aliases WHERE name = NEW.name), 0);
    NEW.at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER aliases_guard BEFORE INSERT ON quantplay.aliases
    FOR EACH ROW EXECUTE FUNCTION quantplay.guard_alias();
CREATE TRIGGER aliases_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON quantplay.aliases
    FOR EACH STATEMENT EXECUTE FUNCTION quantplay.guard_alias();
ALTER TABLE quantplay.aliases ENABLE ALWAYS TRIGGER aliases_guard;
ALTER TABLE quantplay.aliases ENABLE ALWAYS TRIGGER aliases_append_only;

-- What a list of packages shows of a decision, so that none of its sentences is read for it.
CREATE FUNCTION quantplay.drops_of(decision jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(s->'slice', s->'metric', s->'unit', s->'drop', s->'upper', s->'max_drop')), '[]'::jsonb)
    FROM jsonb_array_elements(decision->'slices') s
$$;
ALTER TABLE quantplay.decisions ADD COLUMN drops jsonb GENERATED ALWAYS AS (quantplay.drops_of(canonical::jsonb)) STORED;
ALTER TABLE quantplay.evaluations
    ADD COLUMN stack text GENERATED ALWAYS AS (canonical::jsonb->>'fingerprint') STORED,
    ADD COLUMN performance jsonb GENERATED ALWAYS AS (canonical::jsonb->'performance') STORED,
    ADD COLUMN reference_performance jsonb GENERATED ALWAYS AS (canonical::jsonb->'reference_performance') STORED;
ALTER TABLE quantplay.revalidations
    ADD COLUMN stack text GENERATED ALWAYS AS (canonical::jsonb->>'stack') STORED,
    ADD COLUMN at text GENERATED ALWAYS AS (canonical::jsonb->>'at') STORED,
    ADD COLUMN why text GENERATED ALWAYS AS (canonical::jsonb#>>'{reasons,0}') STORED;
ALTER TABLE quantplay.plans
    ADD COLUMN use_case text GENERATED ALWAYS AS (canonical::jsonb->>'use_case') STORED,
    ADD COLUMN model text GENERATED ALWAYS AS (canonical::jsonb#>>'{model,source}') STORED,
    ADD COLUMN runtime text GENERATED ALWAYS AS (canonical::jsonb#>>'{envelope,runtime}') STORED,
    ADD COLUMN owners jsonb GENERATED ALWAYS AS (canonical::jsonb->'owners') STORED;
ALTER TABLE quantplay.recipes
    ADD COLUMN bits double precision GENERATED ALWAYS AS ((canonical::jsonb->>'bits_per_weight')::double precision) STORED;

ALTER TABLE quantplay.packages ADD COLUMN artifact text GENERATED ALWAYS AS (canonical::jsonb#>>'{made_of,artifact}') STORED;
CREATE INDEX packages_by_artifact ON quantplay.packages (artifact);
CREATE INDEX artifacts_by_recipe ON quantplay.artifacts (recipe);
CREATE INDEX recipes_by_model ON quantplay.recipes (model);
CREATE INDEX runs_by_package ON quantplay.runs (package);
CREATE INDEX revalidations_by_package ON quantplay.revalidations (package, created_at);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
