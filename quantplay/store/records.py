"""Records to rows and back: one row a record under its key, stored once, never changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import insert

from quantplay.digest import canonical_json, digest_of_bytes
from quantplay.errors import InputError, IntegrityError
from quantplay.plan import Gate, Plan
from quantplay.records import (
    ArmRun,
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    EnvelopeChoice,
    Evaluation,
    Import,
    Manifest,
    MixChoice,
    PackageRef,
    Recipe,
    Record,
    Revalidation,
    ScanPart,
    Sensitivity,
    SignOff,
    Training,
)
from quantplay.store import tables
from quantplay.store.items import arms_of, insert_items, read_items

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[R]):
    """Which table holds which record."""

    name: str  # as an error says it
    table: Table
    model: type[R]
    with_items: bool = False  # has per-item results, kept in the table `items`


GATE = Kind(name="gate", table=tables.gates, model=Gate)
PLAN = Kind(name="plan", table=tables.plans, model=Plan)
MANIFEST = Kind(name="manifest", table=tables.manifests, model=Manifest)
BASELINE = Kind(name="baseline", table=tables.baselines, model=Baseline, with_items=True)
ENVELOPE = Kind(name="envelope", table=tables.envelopes, model=EnvelopeChoice)
RECIPE = Kind(name="recipe", table=tables.recipes, model=Recipe)
ARTIFACT = Kind(name="artifact", table=tables.artifacts, model=Artifact)
EVALUATION = Kind(name="evaluation", table=tables.evaluations, model=Evaluation, with_items=True)
DECISION = Kind(name="decision", table=tables.decisions, model=Decision)
PACKAGE = Kind(name="package", table=tables.packages, model=PackageRef)
CALIBRATION = Kind(name="calibration check", table=tables.calibration_checks, model=CalibrationCheck)
REVALIDATION = Kind(name="re-validation", table=tables.revalidations, model=Revalidation)
SENSITIVITY = Kind(name="sensitivity", table=tables.sensitivities, model=Sensitivity)
SCAN_PART = Kind(name="part of a scan", table=tables.scan_parts, model=ScanPart)
MIX = Kind(name="mix", table=tables.mixes, model=MixChoice)
TRAINING = Kind(name="training", table=tables.trainings, model=Training)
IMPORT = Kind(name="import", table=tables.imports, model=Import)
SIGNOFF = Kind(name="sign-off", table=tables.signoffs, model=SignOff)
KINDS: tuple[Kind[Any], ...] = (
    BASELINE, ENVELOPE, RECIPE, ARTIFACT, EVALUATION, DECISION, PACKAGE, CALIBRATION, SIGNOFF, MANIFEST,
    SENSITIVITY, SCAN_PART, MIX, TRAINING,
)  # fmt: skip


def kind_of(record: Record) -> Kind[Any]:
    """Which table holds this record."""
    return next(kind for kind in KINDS if type(record) is kind.model)


def put_or_get(connection: Connection, kind: Kind[R], key: str, record: R) -> R:
    """Store `record` under `key`, or give back the one that is there: of two the first stays."""
    try:
        put(connection, kind, key, record)
    except IntegrityError:
        there = get(connection, kind, key)
        if there is None:
            raise
        return there
    return record


def put(connection: Connection, kind: Kind[R], key: str, record: R, **columns: Any) -> bool:
    """Store `record` under `key`; False where the same record was there. IntegrityError where another one was."""
    body = record.body()
    content = digest_of_bytes(canonical_json(body))
    if kind.with_items:
        for arm in arms_of(record):
            del body[arm]["items"]
    row = {"key": key, "content": content, "canonical": canonical_json(body).decode(), **columns}
    if "\\u0000" in row["canonical"] and "\0" in str(body):
        raise InputError(f"a text of this {kind.name} holds the character NUL, which PostgreSQL can't store")
    made = connection.scalar(insert(kind.table).values(row).on_conflict_do_nothing().returning(kind.table.c.key))
    if made is not None:
        if kind.with_items:
            insert_items(connection, kind.name, key, record)
        return True
    there = connection.scalar(sa.select(kind.table.c.content).where(kind.table.c.key == key))
    if there != content:
        raise IntegrityError(
            f"a different {kind.name} is already recorded under this key",
            value=f"{key[:12]}: new content {content[:12]}, recorded {str(there)[:12]}",
            allowed="one result for one set of inputs; what is recorded is never overwritten",
            fix="use the recorded one; if the inputs did differ, the key has to differ too: that is a fault to report",
        )
    return False


def get(connection: Connection, kind: Kind[R], key: str) -> R | None:
    """The record under `key`, exactly as it was put, or None. IntegrityError where its rows were changed since."""
    row = connection.execute(
        sa.select(kind.table.c.canonical, kind.table.c.content).where(kind.table.c.key == key)
    ).first()
    if row is None:
        return None
    record = _rebuilt(connection, kind, key, row.canonical)
    if record.digest() != row.content:
        raise IntegrityError(
            f"a recorded {kind.name} was changed in the database",
            value=f"{key[:12]}: content {record.digest()[:12]}, recorded with {row.content[:12]}",
            fix="restore the database from a backup; nothing in quantplay changes a record",
        )
    return record


def _rebuilt(connection: Connection, kind: Kind[R], key: str, canonical: str) -> R:
    body = json.loads(canonical)
    if not kind.with_items:
        return kind.model.model_validate(body)
    found = read_items(connection, kind.name, key)
    fields = kind.model.model_fields
    arms = {name: {**body[name], "items": found.get(name, ())} for name in body if fields[name].annotation is ArmRun}
    return kind.model.model_validate({**body, **arms})
