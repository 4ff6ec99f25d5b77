"""Locked packages, and every time one was measured again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import distinct_on

from quantplay.records import Digest, Evaluation, Fingerprint, PackageRef, Revalidation
from quantplay.store import events, incidents, records, tables
from quantplay.store.incidents import Incident

REGRESSION = "regression"  # kind of incident
REVALIDATED = "package.revalidated"  # kind of event


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """A package that a run locked: with every signature its profile asks for."""

    key: Digest
    package: PackageRef
    plan: Digest
    name: str  # of the plan
    profile: str
    locked_at: datetime
    locked_on: Fingerprint | None  # stack of the locked evaluation; None for a package of an earlier version


def locked(connection: Connection, prefix: str = "") -> tuple[LockedPackage, ...]:
    """Packages of runs that ended locked, newest first; `prefix`: first characters of the key."""
    packages, runs, plans, evaluations = tables.packages, tables.runs, tables.plans, tables.evaluations
    stack = evaluations.c.body["fingerprint"].label("stack")  # alone: an evaluation's items are many
    query = (
        sa.select(
            packages.c.key, plans.c.key.label("plan"), plans.c.name, plans.c.profile, packages.c.created_at, stack
        )
        .join(runs, runs.c.package == packages.c.key)
        .join(plans, plans.c.key == runs.c.plan)
        .outerjoin(evaluations, evaluations.c.key == packages.c.body["made_of"]["evaluation"].astext)
        .where(runs.c.outcome == "locked", sa.func.starts_with(packages.c.key, prefix))
        .distinct()
        .order_by(packages.c.created_at.desc(), packages.c.key)
    )
    found = []
    for row in connection.execute(query).all():
        package = records.get(connection, records.PACKAGE, row.key)
        assert package is not None
        on = Fingerprint.model_validate(row.stack) if row.stack is not None else None
        entry = LockedPackage(
            key=row.key,
            package=package,
            plan=row.plan,
            name=row.name,
            profile=row.profile,
            locked_at=row.created_at,
            locked_on=on,
        )
        found.append(entry)
    return tuple(found)


def put(connection: Connection, found: Revalidation, measured: Evaluation | None) -> tuple[Digest, Incident | None]:
    """Store it with what was measured, its event, and an incident for a regression. The same one twice is one."""
    key = found.digest()
    if measured is not None and found.measured is not None:
        records.put(connection, records.EVALUATION, found.measured, measured)
    new = records.put(connection, records.REVALIDATION, key, found)
    if new:
        body = {"revalidation": key, "status": found.status, "trigger": found.trigger, "stack": found.stack_now}
        events.append(connection, "quantplay", REVALIDATED, found.package, body)
    incident = None
    if found.status == "regressed":
        incident = incidents.opened(
            connection, kind=REGRESSION, package=found.package, revalidation=key, what=found.reasons[0]
        )
    return key, incident


def latest(connection: Connection) -> dict[Digest, tuple[Digest, Revalidation]]:
    """Package -> key and record of its newest re-validation."""
    table = tables.revalidations
    query = sa.select(table.c.package, table.c.key).ext(distinct_on(table.c.package))
    rows = connection.execute(query.order_by(table.c.package, table.c.created_at.desc(), table.c.key)).all()
    found = {row.package: (row.key, records.get(connection, records.REVALIDATION, row.key)) for row in rows}
    return {package: (key, record) for package, (key, record) in found.items() if record is not None}
