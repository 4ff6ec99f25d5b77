"""What play 8 keeps: policies, the one pointer an endpoint, its changes, leases, counters, request rows, judgements.

The pointer's rules are the database's: versions and revisions only rise, a rollback is always possible and final for its
revision, everything that gives the quantized model more needs the lease with its newest epoch.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

SCRIPT = """
CREATE TABLE quantplay.policies (
    endpoint text NOT NULL CHECK (endpoint ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    revision integer NOT NULL CHECK (revision >= 1),
    canonical text NOT NULL,
    body jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
    package text GENERATED ALWAYS AS (canonical::jsonb->>'package') STORED,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (endpoint, revision)
);

CREATE TABLE quantplay.traffic_leases (
    endpoint text PRIMARY KEY,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE quantplay.traffic_pointer (
    endpoint text PRIMARY KEY,
    revision integer NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    state text NOT NULL CHECK (state IN ('locked', 'canary', 'live', 'rolled_back', 'retired')),
    weight double precision NOT NULL CHECK (weight BETWEEN 0 AND 1),
    kill boolean NOT NULL DEFAULT false,
    epoch bigint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (endpoint, revision) REFERENCES quantplay.policies,
    CONSTRAINT traffic_pointer_serves_nobody CHECK (state IN ('canary', 'live') OR weight = 0)
);

CREATE TABLE quantplay.traffic_changes (
    endpoint text NOT NULL,
    version bigint NOT NULL,
    revision integer NOT NULL,
    state text NOT NULL,
    weight double precision NOT NULL,
    kill boolean NOT NULL,
    epoch bigint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (endpoint, version)
);

CREATE FUNCTION quantplay.guard_pointer() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fence bigint;
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'the traffic pointer is never removed: % refused', TG_OP USING ERRCODE = 'QP002';
    END IF;
    NEW.changed_at := clock_timestamp();
    IF TG_OP = 'INSERT' THEN
        NEW.version := 1;
    ELSE
        IF NEW.endpoint <> OLD.endpoint THEN
            RAISE EXCEPTION 'the traffic pointer of % keeps its name', OLD.endpoint USING ERRCODE = 'QP002';
        END IF;
        NEW.version := OLD.version + 1;
        IF NEW.revision < OLD.revision THEN
            RAISE EXCEPTION 'revision % of % is followed by a higher one only', OLD.revision, OLD.endpoint USING ERRCODE = 'QP002';
        END IF;
        IF NEW.revision = OLD.revision THEN
            IF OLD.state = 'retired' AND NEW.state <> 'retired'
               OR OLD.state = 'rolled_back' AND NEW.state NOT IN ('rolled_back', 'retired') THEN
                RAISE EXCEPTION 'revision % of % is %: going back in needs a new revision', OLD.revision, OLD.endpoint, OLD.state
                    USING ERRCODE = 'QP003';
            END IF;
            IF OLD.state <> 'locked' AND NEW.state = 'locked' THEN
                RAISE EXCEPTION 'revision % of % has served and is no longer only locked', OLD.revision, OLD.endpoint
                    USING ERRCODE = 'QP002';
            END IF;
            -- Taking back is always possible: a rollback, or the kill switch.
            IF NEW.state = 'rolled_back' AND NEW.kill = OLD.kill OR NEW.kill AND NEW.state = OLD.state AND NEW.weight = OLD.weight THEN
                NEW.epoch := OLD.epoch;
                RETURN NEW;
            END IF;
        ELSIF NEW.state NOT IN ('locked', 'canary') THEN
            RAISE EXCEPTION 'a new revision of % starts as locked or canary, not %', OLD.endpoint, NEW.state USING ERRCODE = 'QP002';
        END IF;
    END IF;
    SELECT epoch INTO fence FROM quantplay.traffic_leases
        WHERE endpoint = NEW.endpoint AND expires_at > clock_timestamp() FOR SHARE;
    IF fence IS DISTINCT FROM NEW.epoch THEN
        RAISE EXCEPTION 'the lease on % has epoch %, and this change comes under %', NEW.endpoint, coalesce(fence::text, 'none'), NEW.epoch
            USING ERRCODE = 'QP004';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION quantplay.note_pointer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO quantplay.traffic_changes
        VALUES (NEW.endpoint, NEW.version, NEW.revision, NEW.state, NEW.weight, NEW.kill, NEW.epoch, NEW.actor, NEW.reason, NEW.changed_at);
    PERFORM pg_notify('quantplay_traffic', NEW.endpoint);
    RETURN NULL;
END $$;

CREATE FUNCTION quantplay.refuse_live_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'QP002';
END $$;

CREATE TRIGGER traffic_pointer_guard BEFORE INSERT OR UPDATE OR DELETE ON quantplay.traffic_pointer
    FOR EACH ROW EXECUTE FUNCTION quantplay.guard_pointer();
CREATE TRIGGER traffic_pointer_kept BEFORE TRUNCATE ON quantplay.traffic_pointer
    FOR EACH STATEMENT EXECUTE FUNCTION quantplay.guard_pointer();
CREATE TRIGGER traffic_pointer_noted AFTER INSERT OR UPDATE ON quantplay.traffic_pointer
    FOR EACH ROW EXECUTE FUNCTION quantplay.note_pointer();
CREATE TRIGGER policies_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON quantplay.policies
    FOR EACH STATEMENT EXECUTE FUNCTION quantplay.refuse_live_change();
CREATE TRIGGER traffic_changes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON quantplay.traffic_changes
    FOR EACH STATEMENT EXECUTE FUNCTION quantplay.refuse_live_change();
ALTER TABLE quantplay.traffic_pointer ENABLE ALWAYS TRIGGER traffic_pointer_guard;
ALTER TABLE quantplay.traffic_pointer ENABLE ALWAYS TRIGGER traffic_pointer_noted;
ALTER TABLE quantplay.policies ENABLE ALWAYS TRIGGER policies_append_only;
ALTER TABLE quantplay.traffic_changes ENABLE ALWAYS TRIGGER traffic_changes_append_only;

-- Minute 0 holds the sum since the process began.
CREATE TABLE quantplay.live_counters (
    endpoint text NOT NULL,
    revision integer NOT NULL,
    minute integer NOT NULL,
    arm text NOT NULL,
    name text NOT NULL,
    source uuid NOT NULL,
    value bigint NOT NULL CHECK (value >= 0),
    PRIMARY KEY (endpoint, revision, minute, arm, name, source)
);

CREATE TABLE quantplay.live_requests (
    at timestamptz NOT NULL,
    id text NOT NULL,
    endpoint text NOT NULL,
    revision integer NOT NULL,
    assigned text NOT NULL,
    served text NOT NULL,
    status smallint NOT NULL,
    prompt_tokens integer,
    completion_tokens integer,
    first_token_ms real,
    total_ms real NOT NULL,
    finish text,
    text text,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX live_requests_at ON quantplay.live_requests USING brin (at);

CREATE TABLE quantplay.live_judgements (
    endpoint text NOT NULL,
    revision integer NOT NULL,
    at timestamptz NOT NULL,
    verdict text NOT NULL,
    PRIMARY KEY (endpoint, revision, at)
);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SCRIPT, execution_options={"no_parameters": True})
