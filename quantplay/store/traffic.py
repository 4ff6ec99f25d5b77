"""Where an endpoint's traffic goes: policies, and one pointer row an endpoint that says which is in force and how much of it.

Migration 0006 holds the rules, so that no program can break them: revisions and versions only rise, a rollback is one row, always
possible and final for its revision, and whatever gives the quantized model more needs the lease with its newest epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from quantplay.digest import canonical_json
from quantplay.errors import Conflict, InputError
from quantplay.records.traffic import SERVING, PolicyRevision, State, TrafficPolicy
from quantplay.store import tables

CHANNEL = "quantplay_traffic"
"""Of PostgreSQL's notifications; the text is the endpoint's name."""
FINAL = ("rolled_back", "retired")


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a pointer was, from `at` until the next one."""

    endpoint: str
    version: int
    revision: int
    state: State
    weight: float
    kill: bool
    actor: str
    reason: str
    at: datetime


def add_policy(connection: Connection, policy: PolicyRevision, actor: str) -> int:
    """Write the next revision of its endpoint; nothing is served by it yet. Returns its number."""
    table = tables.policies
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"policy {policy.endpoint}"))))
    newest = sa.select(sa.func.max(table.c.revision)).where(table.c.endpoint == policy.endpoint)
    number = (connection.scalar(newest) or 0) + 1
    row = {
        "endpoint": policy.endpoint,
        "revision": number,
        "canonical": canonical_json(policy.body()).decode(),
        "created_by": actor,
    }
    connection.execute(sa.insert(table).values(row))
    return number


def policy_of(connection: Connection, endpoint: str, revision: int) -> PolicyRevision:
    table = tables.policies
    found = connection.scalar(
        sa.select(table.c.canonical).where(table.c.endpoint == endpoint, table.c.revision == revision)
    )
    if found is None:
        raise InputError("there is no such policy", value=f"{endpoint}, revision {revision}")
    return PolicyRevision.model_validate_json(found)


def take_lease(connection: Connection, endpoint: str, holder: str, seconds: float) -> int:
    """The endpoint's lease for `holder`, or more time where it has it; its epoch, which rises with every change of hands.

    Raises Conflict while somebody else has it.
    """
    table, now = tables.traffic_leases, sa.func.clock_timestamp()
    until = now + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    row = insert(table).values(endpoint=endpoint, holder=holder, epoch=1, expires_at=until)
    mine = table.c.holder == holder
    taken = row.on_conflict_do_update(
        index_elements=[table.c.endpoint],
        set_={
            "holder": holder,
            "expires_at": until,
            "epoch": sa.case((mine & (table.c.expires_at > now), table.c.epoch), else_=table.c.epoch + 1),
        },
        where=mine | (table.c.expires_at <= now),
    ).returning(table.c.epoch)
    epoch = connection.scalar(taken)
    if epoch is None:
        other = connection.execute(
            sa.select(table.c.holder, table.c.expires_at).where(table.c.endpoint == endpoint)
        ).one()
        raise Conflict(
            f"another controller has {endpoint}", value=f"{other.holder}, until {other.expires_at:%H:%M:%S}",
            fix="wait until it is done, or stop it; a rollback needs no lease",
        )  # fmt: skip
    return epoch


def give_lease(connection: Connection, endpoint: str, holder: str) -> None:
    """End the lease now where `holder` has it."""
    table = tables.traffic_leases
    mine = sa.update(table).where(table.c.endpoint == endpoint, table.c.holder == holder)
    connection.execute(mine.values(expires_at=sa.func.clock_timestamp()))


def point(
    connection: Connection, endpoint: str, *, revision: int, state: State, weight: float, epoch: int, expected: int | None,
    actor: str, reason: str,
) -> int:  # fmt: skip
    """Move the pointer under a lease: compare and swap. expected: the version it has now, None where there is none yet.

    Returns the new version. Raises Conflict where it has another version, where the lease is not ours any more, or where the
    revision is final.
    """
    table = tables.traffic_pointer
    told = {
        "revision": revision, "state": state, "weight": weight, "kill": False, "epoch": epoch, "actor": actor, "reason": reason,
    }  # fmt: skip
    if expected is None:
        first = insert(table).values(endpoint=endpoint, **told).on_conflict_do_nothing()
        version = connection.scalar(first.returning(table.c.version))
    else:
        same = sa.update(table).where(table.c.endpoint == endpoint, table.c.version == expected)
        version = connection.scalar(same.values(told).returning(table.c.version))
    if version is None:
        raise Conflict(
            f"the traffic of {endpoint} was changed meanwhile", value=f"not version {expected or 'none'} any more",
            fix="look at what is in force and try again",
        )  # fmt: skip
    return version


def roll_back(
    connection: Connection, endpoint: str, *, actor: str, reason: str, revision: int | None = None
) -> int | None:
    """Full precision for everybody: one row, no lease, no condition but `revision`, where only that one is meant.

    Returns the new version, or None where it was taken back, retired or replaced already. Raises InputError on an unknown endpoint.
    """
    table = tables.traffic_pointer
    change = sa.update(table).where(table.c.endpoint == endpoint, table.c.state.not_in(FINAL))
    if revision is not None:
        change = change.where(table.c.revision == revision)
    values = change.values(state="rolled_back", weight=0, actor=actor, reason=reason)
    version = connection.scalar(values.returning(table.c.version))
    if version is None:
        require_endpoint(connection, endpoint)
    return version


def switch_off(connection: Connection, endpoint: str, *, actor: str, reason: str) -> int | None:
    """The kill switch: full precision for everybody, and the revision stays. None where it was thrown already."""
    table = tables.traffic_pointer
    change = sa.update(table).where(table.c.endpoint == endpoint, table.c.kill.is_(False))
    version = connection.scalar(change.values(kill=True, actor=actor, reason=reason).returning(table.c.version))
    if version is None:
        require_endpoint(connection, endpoint)
    return version


def require_endpoint(connection: Connection, endpoint: str) -> None:
    table = tables.traffic_pointer
    names = connection.scalars(sa.select(table.c.endpoint).order_by(table.c.endpoint)).all()
    if endpoint not in names:
        raise InputError(
            "there is no such endpoint", value=endpoint, allowed=", ".join(names) or "none yet",
            fix="`quantplay release PACKAGE --endpoint NAME` makes one",
        )  # fmt: skip


def in_force(connection: Connection, endpoint: str | None = None) -> tuple[TrafficPolicy, ...]:
    """What gateways go by, by endpoint."""
    pointer, policies = tables.traffic_pointer, tables.policies
    both = (pointer.c.endpoint == policies.c.endpoint) & (pointer.c.revision == policies.c.revision)
    query = sa.select(pointer, policies.c.canonical).join(policies, both).order_by(pointer.c.endpoint)
    if endpoint is not None:
        query = query.where(pointer.c.endpoint == endpoint)
    found = []
    for row in connection.execute(query):
        told = PolicyRevision.model_validate_json(row.canonical)
        found.append(
            TrafficPolicy(
                endpoint=row.endpoint, revision=row.revision, version=row.version, state=row.state, weight=row.weight, salt=told.salt,
                kill=row.kill, full_precision=told.full_precision, quantized=told.quantized if row.state in SERVING else None,
                timeouts=told.timeouts, sampling=told.sampling,
            )
        )  # fmt: skip
    return tuple(found)


def changes(connection: Connection, endpoint: str, since_version: int = 0) -> tuple[Change, ...]:
    """What the pointer was, oldest first."""
    table = tables.traffic_changes
    columns = [column for column in table.c if column.name != "epoch"]
    query = sa.select(*columns).where(table.c.endpoint == endpoint, table.c.version > since_version)
    return tuple(Change(**row._mapping) for row in connection.execute(query.order_by(table.c.version)))
