"""The tables, in the schema `quantplay` of whatever database it is. Made by migrations/, used by the rest of store/.

A record's table holds its exact canonical JSON (`canonical`), from which the database itself computes `body` (JSONB) and
the columns worth querying: they can't disagree. JSONB alone would not give back what went in (it drops the sign of -0.0),
and a record's digest would change.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy import Column, Computed, Table
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

SCHEMA = "quantplay"
metadata = sa.MetaData(schema=SCHEMA)

NOW = sa.text("clock_timestamp()")
KEY = "{name} ~ '^[0-9a-f]{{64}}$'"

# Table -> column -> (SQL type, expression over the record's JSON `j`). The migration that made a table wrote the same.
RECORDS: dict[str, dict[str, tuple[str, str]]] = {
    "gates": {},
    "manifests": {
        "kind": ("text", "j->>'kind'"),
        "source": ("text", "j->>'source'"),
        "files": ("text", "j->>'content'"),
    },
    "baselines": {
        "model": ("text", "j->>'model'"),
        "evaluation": ("text", "j->>'evaluation'"),
        "harness": ("text", "j->>'harness'"),
        "precision": ("text", "j->>'precision'"),
    },
    "envelopes": {
        "runtime": ("text", "j->>'runtime'"),
        "format": ("text", "j#>>'{chosen,format}'"),
        "type": ("text", "j#>>'{chosen,type}'"),
    },
    "recipes": {
        "format": ("text", "j->>'format'"),
        "type": ("text", "j->>'type'"),
        "method": ("text", "j->>'method'"),
        "model": ("text", "j->>'model'"),
        "calibration": ("text", "j->>'calibration'"),
        "bits": ("double precision", "(j->>'bits_per_weight')::double precision"),
    },
    "artifacts": {
        "recipe": ("text", "j->>'recipe'"),
        "sha256": ("text", "j->>'sha256'"),
        "format": ("text", "j->>'format'"),
        "type": ("text", "j->>'type'"),
        "size_bytes": ("bigint", "(j->>'size_bytes')::bigint"),
        "bits_per_weight": ("double precision", "(j->>'bits_per_weight')::double precision"),
    },
    "evaluations": {
        "baseline": ("text", "j->>'baseline'"),
        "artifact": ("text", "j->>'artifact'"),
        "harness": ("text", "j->>'harness'"),
        "stack": ("text", "j->>'fingerprint'"),
        "performance": ("jsonb", "j->'performance'"),
        "reference_performance": ("jsonb", "j->'reference_performance'"),
    },
    "decisions": {
        "drops": ("jsonb", "quantplay.drops_of(j)"),  # a function of migration 0008
        "verdict": ("text", "j->>'verdict'"),
        "gate": ("text", "j->>'gate'"),
        "baseline": ("text", "j->>'baseline'"),
        "evaluation": ("text", "j->>'evaluation'"),
        "attempt": ("integer", "(j->>'attempt')::integer"),
        "envelope_met": ("boolean", "(j->>'envelope_met')::boolean"),
    },
    "packages": {
        "run": ("text", "j->>'run'"),
        "path": ("text", "j->>'path'"),
        "manifest": ("text", "j->>'manifest'"),
        "artifact": ("text", "j#>>'{made_of,artifact}'"),
    },
    "plans": {
        "name": ("text", "j->>'name'"),
        "profile": ("text", "j->>'profile'"),
        "use_case": ("text", "j->>'use_case'"),
        "model": ("text", "j#>>'{model,source}'"),
        "runtime": ("text", "j#>>'{envelope,runtime}'"),
        "owners": ("jsonb", "j->'owners'"),
    },
    "calibration_checks": {
        "calibration": ("text", "j->>'calibration'"),
        "samples": ("integer", "(j->>'samples')::integer"),
    },
    "revalidations": {
        "package": ("text", "j->>'package'"),
        "status": ("text", "j->>'status'"),
        "stack": ("text", "j->>'stack'"),
        "at": ("text", "j->>'at'"),
        "why": ("text", "j#>>'{reasons,0}'"),
    },
    "sensitivities": {"model": ("text", "j->>'model'")},
    "scan_parts": {"scan": ("text", "j->>'scan'")},
    "mixes": {"sensitivity": ("text", "j->>'sensitivity'")},
    "trainings": {"weights": ("text", "j->>'weights'")},
    "imports": {"base": ("text", "j->>'base'")},
    "signoffs": {
        "run": ("text", "j->>'run'"),
        "stage": ("text", "j->>'stage'"),
        "role": ("text", "j->>'role'"),
        "verdict": ("text", "j->>'verdict'"),
        "person": ("text", "j->>'person'"),
        "decision": ("text", "j->>'decision'"),
        "nonce": ("text", "j->>'nonce'"),
        "identified_by": ("text", "coalesce(j#>>'{login,issuer}', 'ssh')"),
    },
}
TYPES = {
    "text": sa.Text(),
    "bigint": sa.BigInteger(),
    "integer": sa.Integer(),
    "boolean": sa.Boolean(),
    "double precision": sa.Double(),
    "jsonb": JSONB(),
}


def expression(template: str) -> str:
    """SQL of a computed column: `j` stands for the record."""
    return re.sub(r"\bj(?=[-#)])", "canonical::jsonb", template)


def _record_table(name: str) -> Table:
    computed = [
        Column(column, TYPES[kind], Computed(expression(template), persisted=True))
        for column, (kind, template) in RECORDS[name].items()
    ]
    extra = [Column("gate", sa.Text, sa.ForeignKey(f"{SCHEMA}.gates.key"), nullable=False)] if name == "plans" else []
    once = [sa.UniqueConstraint("nonce", name="signoffs_nonce_once")] if name == "signoffs" else []
    return Table(
        name,
        metadata,
        Column("key", sa.Text, primary_key=True),  # digest of all that determines the record
        Column("content", sa.Text, nullable=False),  # digest of the whole record, per-item results included
        Column("canonical", sa.Text, nullable=False),  # canonical JSON without the per-item results
        Column("body", JSONB, Computed("canonical::jsonb", persisted=True)),
        *computed,
        *extra,
        Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
        sa.CheckConstraint(KEY.format(name="key"), name=f"{name}_key_is_digest"),
        *once,
    )


gates = _record_table("gates")
plans = _record_table("plans")
manifests = _record_table("manifests")
baselines = _record_table("baselines")
envelopes = _record_table("envelopes")
recipes = _record_table("recipes")
artifacts = _record_table("artifacts")
evaluations = _record_table("evaluations")
decisions = _record_table("decisions")
packages = _record_table("packages")
calibration_checks = _record_table("calibration_checks")
signoffs = _record_table("signoffs")
revalidations = _record_table("revalidations")
sensitivities = _record_table("sensitivities")
scan_parts = _record_table("scan_parts")
mixes = _record_table("mixes")
trainings = _record_table("trainings")
imports = _record_table("imports")

# How the registry finds packages: from a model to its recipes, their artifacts, the packages of those.
sa.Index("recipes_by_model", recipes.c.model)
sa.Index("artifacts_by_recipe", artifacts.c.recipe)
sa.Index("artifacts_by_file", artifacts.c.sha256)
sa.Index("evaluations_by_file", evaluations.c.artifact)
sa.Index("packages_by_artifact", packages.c.artifact)
sa.Index("revalidations_by_package", revalidations.c.package, revalidations.c.created_at)

meta = Table(
    "meta",
    metadata,
    Column("one", sa.Boolean, primary_key=True, server_default=sa.true()),  # the table has one row
    Column("identity", UUID(as_uuid=True), nullable=False, server_default=sa.text("gen_random_uuid()")),
    Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    sa.CheckConstraint("one", name="meta_one_row"),
)

items = Table(
    "items",
    metadata,
    Column("kind", sa.Text, primary_key=True),  # baseline | evaluation
    Column("owner", sa.Text, primary_key=True),  # key there
    Column("arm", sa.Text, primary_key=True),  # source | reference | candidate
    Column("position", sa.Integer, primary_key=True),  # order in the record
    Column("split", sa.Text, nullable=False),
    Column("item", sa.Text, nullable=False),
    Column("slice", sa.Text, nullable=False),
    Column("cluster", sa.Text, nullable=False),
    Column("score", sa.Double, nullable=False),
    Column("graded", sa.Boolean, nullable=False),
    Column("response", sa.Text, nullable=False),
    Column("response_bytes", sa.LargeBinary),  # UTF-8, only where the response holds NUL, which text can't
    Column("gold_loss_nats", sa.Double),
)

runs = Table(
    "runs",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("plan", sa.Text, sa.ForeignKey(f"{SCHEMA}.plans.key"), nullable=False),
    Column("profile", sa.Text, nullable=False),
    Column("state", sa.Text, nullable=False),  # running | finished | failed
    Column("outcome", sa.Text),
    Column("exit_code", sa.Integer),
    Column("started_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    Column("finished_at", TIMESTAMP(timezone=True)),
    Column("prefect_flow_run_id", sa.Text),
    Column("package", sa.Text),
    Column("left_at", sa.Text),  # envelope | ptq | mixed_precision | training: the play after which the run ended
    sa.Index("runs_newest", sa.text("started_at desc")),
    sa.Index("runs_by_package", "package"),
)

run_plays = Table(
    "run_plays",
    metadata,
    Column("run", UUID(as_uuid=True), sa.ForeignKey(f"{SCHEMA}.runs.id"), primary_key=True),
    Column("play", sa.Text, primary_key=True),
    Column("key", sa.Text, primary_key=True),  # of the record the play produced or found
    Column("reused", sa.Boolean, nullable=False),
    Column("started_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    Column("seconds", sa.Double, nullable=False),
    Column("attempt", sa.Integer, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("plan", sa.Text, primary_key=True),
    Column("gate", sa.Text, nullable=False),
    Column("model", sa.Text, primary_key=True),
    Column("items", sa.Text, primary_key=True),  # digest of the gate split's items
    Column("attempt", sa.Integer, primary_key=True),
    Column("artifact", sa.Text, nullable=False),  # sha256 of the file that was looked at
    Column("at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    sa.UniqueConstraint("plan", "model", "items", "artifact", name="attempts_once"),
)

events = Table(
    "events",
    metadata,
    Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
    Column("actor", sa.Text, nullable=False),
    Column("kind", sa.Text, nullable=False),
    Column("subject", sa.Text, nullable=False),
    Column("canonical", sa.Text, nullable=False),
    Column("body", JSONB, Computed("canonical::jsonb", persisted=True)),
    Column("previous", sa.Text, nullable=False, unique=True),
    Column("digest", sa.Text, nullable=False, unique=True),
)

baseline_sanctions = Table(
    "baseline_sanctions",
    metadata,
    Column("baseline", sa.Text, sa.ForeignKey(f"{SCHEMA}.baselines.key"), primary_key=True),
    Column(
        "identity", sa.Text, nullable=False
    ),  # model, evaluation set, harness, hardware and stack: what reuse asks for
    Column("generation", sa.Integer, nullable=False),  # 0, then one more each time an expired one was measured again
    Column("measured_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
    Column("revoked_at", TIMESTAMP(timezone=True)),
    Column("reason", sa.Text),  # why it was revoked
    sa.UniqueConstraint("identity", "generation", name="baseline_sanctions_once"),
)

pins = Table(
    "pins",
    metadata,
    Column("sha256", sa.Text, primary_key=True),
    Column("reason", sa.Text, primary_key=True),
    Column("run", sa.Text, primary_key=True, server_default=""),
    Column("at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
)

workers = Table(
    "workers",
    metadata,
    Column("name", sa.Text, primary_key=True),
    Column("pool", sa.Text, nullable=False),
    Column("host", sa.Text, nullable=False),
    Column("device", sa.Text, nullable=False),  # identity of the device: jobs on one run one after the other
    Column("chip", sa.Text, nullable=False),  # as a plan's target_chip names it
    Column("hardware", JSONB, nullable=False),  # the Hardware record the worker measured when it started
    Column("started_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    Column("seen_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    Column("stopped_at", TIMESTAMP(timezone=True)),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("run", UUID(as_uuid=True), sa.ForeignKey(f"{SCHEMA}.runs.id")),  # none for a re-validation
    Column("play", sa.Text, nullable=False),
    Column("host", sa.Text, nullable=False),
    Column("device", sa.Text, nullable=False),
    Column("started_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),  # the device was taken
    Column("finished_at", TIMESTAMP(timezone=True)),
    Column("outcome", sa.Text),  # done | reused | failed | lost (its process was gone); none while it runs
    sa.Index("jobs_by_run", "run", "started_at"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("kind", sa.Text, nullable=False),  # regression
    Column("package", sa.Text, nullable=False),  # key of the package it is about
    Column("revalidation", sa.Text),  # key of the record that found it
    Column("what", sa.Text, nullable=False),  # a sentence
    Column("opened_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    Column("closed_at", TIMESTAMP(timezone=True)),
    Column("closed_by", sa.Text),
    Column("resolution", sa.Text),  # what ended it
    Column("lesson", sa.Text),  # None: open, or closed before migration 0009
    Column("folded_into", sa.Text),  # standard | calibration | evaluation_item | documentation
    Column("folded_where", sa.Text),
    sa.Index("incidents_one_open", "kind", "package", unique=True, postgresql_where=sa.text("closed_at IS NULL")),
)

policies = Table(
    "policies",
    metadata,
    Column("endpoint", sa.Text, primary_key=True),
    Column("revision", sa.Integer, primary_key=True),
    Column("canonical", sa.Text, nullable=False),
    Column("body", JSONB, Computed("canonical::jsonb", persisted=True)),
    Column("package", sa.Text, Computed("canonical::jsonb->>'package'", persisted=True)),
    Column("created_by", sa.Text, nullable=False),
    Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
)

traffic_leases = Table(
    "traffic_leases",
    metadata,
    Column("endpoint", sa.Text, primary_key=True),
    Column("holder", sa.Text, nullable=False),
    Column("epoch", sa.BigInteger, nullable=False),
    Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
)

# What may become of it is written in migration 0006 as triggers.
traffic_pointer = Table(
    "traffic_pointer",
    metadata,
    Column("endpoint", sa.Text, primary_key=True),
    Column("revision", sa.Integer, nullable=False),
    Column("version", sa.BigInteger, nullable=False, server_default="1"),
    Column("state", sa.Text, nullable=False),
    Column("weight", sa.Double, nullable=False),
    Column("kill", sa.Boolean, nullable=False, server_default=sa.false()),
    Column("epoch", sa.BigInteger, nullable=False),
    Column("actor", sa.Text, nullable=False),
    Column("reason", sa.Text, nullable=False),
    Column("changed_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    sa.ForeignKeyConstraint(["endpoint", "revision"], [f"{SCHEMA}.policies.endpoint", f"{SCHEMA}.policies.revision"]),
)

traffic_changes = Table(
    "traffic_changes",
    metadata,
    Column("endpoint", sa.Text, primary_key=True),
    Column("version", sa.BigInteger, primary_key=True),
    Column("revision", sa.Integer, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("weight", sa.Double, nullable=False),
    Column("kill", sa.Boolean, nullable=False),
    Column("epoch", sa.BigInteger, nullable=False),
    Column("actor", sa.Text, nullable=False),
    Column("reason", sa.Text, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
)

live_counters = Table(
    "live_counters",
    metadata,
    Column("endpoint", sa.Text, primary_key=True),
    Column("revision", sa.Integer, primary_key=True),
    Column("minute", sa.Integer, primary_key=True, autoincrement=False),  # Unix time // 60; 0: since the process began
    Column("arm", sa.Text, primary_key=True),
    Column("name", sa.Text, primary_key=True),
    Column("source", UUID(as_uuid=False), primary_key=True),  # a gateway's process
    Column("value", sa.BigInteger, nullable=False),
)

live_requests = Table(
    "live_requests",
    metadata,
    Column("at", TIMESTAMP(timezone=True), primary_key=True),  # partitioned by day
    Column("id", sa.Text, primary_key=True),
    Column("endpoint", sa.Text, nullable=False),
    Column("revision", sa.Integer, nullable=False),
    Column("assigned", sa.Text, nullable=False),
    Column("served", sa.Text, nullable=False),
    Column("status", sa.SmallInteger, nullable=False),
    Column("prompt_tokens", sa.Integer),
    Column("completion_tokens", sa.Integer),
    Column("first_token_ms", sa.REAL),
    Column("total_ms", sa.REAL, nullable=False),
    Column("finish", sa.Text),
    Column("text", sa.Text),
    sa.Index("live_requests_at", "at", postgresql_using="brin"),
    postgresql_partition_by="RANGE (at)",
)

live_judgements = Table(
    "live_judgements",
    metadata,
    Column("endpoint", sa.Text, primary_key=True),
    Column("revision", sa.Integer, primary_key=True),
    Column("at", TIMESTAMP(timezone=True), primary_key=True),
    Column("verdict", sa.Text, nullable=False),  # canonical JSON
)

live_gateways = Table(
    "live_gateways",
    metadata,
    Column("source", UUID(as_uuid=False), primary_key=True),  # a gateway's process, as in its counters
    Column("name", sa.Text, nullable=False),  # host and process, for people
    Column("versions", JSONB, nullable=False),  # endpoint -> version of the pointer it goes by
    Column("seen_at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
)

live_feedback = Table(
    "live_feedback",
    metadata,
    Column("id", sa.Text, primary_key=True),  # of an answer
    Column("client", sa.Text, primary_key=True),  # digest of the key that told it
    Column("signal", sa.Text, primary_key=True),
    Column("at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    sa.Index("live_feedback_at", "at"),
)

# The newest version is what the name stands for; migration 0008 holds the rules as triggers.
aliases = Table(
    "aliases",
    metadata,
    Column("name", sa.Text, primary_key=True),
    Column("version", sa.Integer, primary_key=True),
    Column("package", sa.Text, sa.ForeignKey(f"{SCHEMA}.packages.key"), nullable=False),
    Column("actor", sa.Text, nullable=False),
    Column("reason", sa.Text, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
    sa.Index("aliases_by_package", "package"),
)
