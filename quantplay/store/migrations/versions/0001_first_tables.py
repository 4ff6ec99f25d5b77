"""The first tables: records, per-item results, runs, attempts, the event chain and pins."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

RECORDS = """
gates:
manifests: kind text j->>'kind'; source text j->>'source'; files text j->>'content'
baselines: model text j->>'model'; evaluation text j->>'evaluation'; harness text j->>'harness'; precision text j->>'precision'
envelopes: runtime text j->>'runtime'; format text j#>>'{chosen,format}'; type text j#>>'{chosen,type}'
recipes: format text j->>'format'; type text j->>'type'; method text j->>'method'; model text j->>'model'; calibration text j->>'calibration'
artifacts: recipe text j->>'recipe'; sha256 text j->>'sha256'; format text j->>'format'; type text j->>'type'; size_bytes bigint (j->>'size_bytes')::bigint; bits_per_weight double_precision (j->>'bits_per_weight')::double precision
evaluations: baseline text j->>'baseline'; artifact text j->>'artifact'; harness text j->>'harness'
decisions: verdict text j->>'verdict'; gate text j->>'gate'; baseline text j->>'baseline'; evaluation text j->>'evaluation'; attempt integer (j->>'attempt')::integer; envelope_met boolean (j->>'envelope_met')::boolean
packages: run text j->>'run'; path text j->>'path'; manifest text j->>'manifest'
plans: name text j->>'name'; profile text j->>'profile'
"""

OTHERS = """
CREATE TABLE quantplay.meta (
    one boolean PRIMARY KEY DEFAULT true CONSTRAINT meta_one_row CHECK (one),
    identity uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO quantplay.meta DEFAULT VALUES;

CREATE TABLE quantplay.items (
    kind text NOT NULL,
    owner text NOT NULL,
    arm text NOT NULL,
    position integer NOT NULL,
    split text NOT NULL,
    item text NOT NULL,
    slice text NOT NULL,
    cluster text NOT NULL,
    score double precision NOT NULL,
    graded boolean NOT NULL,
    response text NOT NULL,
    response_bytes bytea,
    gold_loss_nats double precision,
    PRIMARY KEY (kind, owner, arm, position)
);

CREATE TABLE quantplay.runs (
    id uuid PRIMARY KEY,
    plan text NOT NULL REFERENCES quantplay.plans (key),
    profile text NOT NULL,
    state text NOT NULL,
    outcome text,
    exit_code integer,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    prefect_flow_run_id text,
    package text
);
CREATE INDEX runs_newest ON quantplay.runs (started_at DESC);

CREATE TABLE quantplay.run_plays (
    run uuid NOT NULL REFERENCES quantplay.runs (id),
    play text NOT NULL,
    key text NOT NULL,
    reused boolean NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds double precision NOT NULL,
    attempt integer NOT NULL,
    PRIMARY KEY (run, play, key)
);

CREATE TABLE quantplay.attempts (
    plan text NOT NULL,
    gate text NOT NULL,
    model text NOT NULL,
    evaluation_content text NOT NULL,
    attempt integer NOT NULL,
    evaluation text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (plan, model, evaluation_content, attempt),
    CONSTRAINT attempts_once UNIQUE (plan, model, evaluation_content, evaluation)
);

CREATE TABLE quantplay.pins (
    sha256 text NOT NULL,
    reason text NOT NULL,
    run text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (sha256, reason, run)
);
"""

# The digest's text is quantplay.store.events.digest_text; both must stay the same for ever.
EVENTS = r"""
CREATE TABLE quantplay.events (
    seq bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL CHECK (actor !~ '[\n\r]'),
    kind text NOT NULL CHECK (kind !~ '[\n\r]'),
    subject text NOT NULL CHECK (subject !~ '[\n\r]'),
    canonical text NOT NULL CHECK (canonical !~ '[\n\r]'),
    body jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
    previous text NOT NULL UNIQUE,
    digest text NOT NULL UNIQUE
);

CREATE FUNCTION quantplay.check_event() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last quantplay.events%ROWTYPE;
    expected text;
BEGIN
    PERFORM pg_advisory_xact_lock(7161803398874989482);
    SELECT * INTO last FROM quantplay.events ORDER BY seq DESC LIMIT 1;
    IF NEW.seq IS DISTINCT FROM coalesce(last.seq, 0) + 1 THEN
        RAISE EXCEPTION 'event % does not follow event %', NEW.seq, coalesce(last.seq, 0) USING ERRCODE = 'QP001';
    END IF;
    IF NEW.previous IS DISTINCT FROM coalesce(last.digest, repeat('0', 64)) THEN
        RAISE EXCEPTION 'event % does not name the digest of the event before it', NEW.seq USING ERRCODE = 'QP001';
    END IF;
    IF NEW.at > clock_timestamp() + interval '5 minutes' OR NEW.at < last.at - interval '5 minutes' THEN
        RAISE EXCEPTION 'event % has a time that can not be', NEW.seq USING ERRCODE = 'QP001';
    END IF;
    expected := encode(sha256(convert_to(concat_ws(E'\n', 'quantplay event 1', NEW.seq,
        to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        NEW.actor, NEW.kind, NEW.subject, NEW.previous, NEW.canonical), 'UTF8')), 'hex');
    IF NEW.digest IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'event % does not have the digest of its content', NEW.seq USING ERRCODE = 'QP001';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION quantplay.refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only: % refused', TG_OP USING ERRCODE = 'QP001';
END $$;

CREATE TRIGGER events_chain BEFORE INSERT ON quantplay.events
    FOR EACH ROW EXECUTE FUNCTION quantplay.check_event();
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON quantplay.events
    FOR EACH STATEMENT EXECUTE FUNCTION quantplay.refuse_event_change();
-- ALWAYS: also where session_replication_role is replica, which silences ordinary triggers.
ALTER TABLE quantplay.events ENABLE ALWAYS TRIGGER events_chain;
ALTER TABLE quantplay.events ENABLE ALWAYS TRIGGER events_append_only;
"""


def record_table(line: str) -> str:
    name, _, rest = line.partition(":")
    columns = []
    for part in filter(None, (piece.strip() for piece in rest.split(";"))):
        column, kind, template = part.split(" ", 2)
        expression = template.replace("j->>", "canonical::jsonb->>").replace("j#>>", "canonical::jsonb#>>")
        columns.append(f"{column} {kind.replace('_', ' ')} GENERATED ALWAYS AS ({expression}) STORED,")
    if name == "plans":
        columns.append("gate text NOT NULL REFERENCES quantplay.gates (key),")
    return f"""
        CREATE TABLE quantplay.{name} (
            key text PRIMARY KEY CONSTRAINT {name}_key_is_digest CHECK (key ~ '^[0-9a-f]{{64}}$'),
            content text NOT NULL,
            canonical text NOT NULL,
            body jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
            {" ".join(columns)}
            created_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )"""


def upgrade() -> None:
    connection = op.get_bind()
    for line in RECORDS.strip().splitlines():
        connection.exec_driver_sql(record_table(line))
    for script in (OTHERS, EVENTS):
        # Without parameters the driver sends a script of several statements as it is.
        connection.exec_driver_sql(script, execution_options={"no_parameters": True})
