"""Sanctioned baselines: reused for the same identity, never after they expired or were revoked."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
import store_samples as samples

from quantplay.errors import InputError
from quantplay.store import tables
from quantplay.store.registry import Store

IDENTITY = samples.digest("model, evaluation set, harness, hardware and stack")


def age(store: Store, key: str, days: int) -> None:
    """Let `days` days pass for one baseline."""
    table = tables.baseline_sanctions
    earlier = {name: table.c[name] - timedelta(days=days) for name in ("measured_at", "expires_at")}
    with store.engine.begin() as connection:
        connection.execute(sa.update(table).where(table.c.baseline == key).values(earlier))


def measured(store: Store, key: str, days: int | None = None) -> str:
    store.put_baseline(key, samples.baseline())
    store.sanction_baseline(key, IDENTITY, days)
    return key


def test_a_baseline_is_reused_for_its_identity_and_no_other(store: Store) -> None:
    assert store.sanctioned_baseline(IDENTITY) is None
    assert store.baseline_generations(IDENTITY) == 0
    measured(store, IDENTITY)
    measured(store, IDENTITY)  # the same again, as after a crash
    assert store.sanctioned_baseline(IDENTITY) == IDENTITY
    assert store.sanctioned_baseline(samples.digest("other hardware")) is None
    assert store.baseline_generations(IDENTITY) == 1
    assert store.identity_of_baseline(IDENTITY) == IDENTITY
    (row,) = store.list_baselines()
    assert (row.baseline, row.generation, row.valid, row.runs) == (IDENTITY, 0, True, 0)
    assert row.expires_at - row.measured_at == timedelta(days=90)


def test_an_expired_one_is_measured_again_under_a_key_of_its_own(store: Store) -> None:
    measured(store, IDENTITY, 30)
    age(store, IDENTITY, 31)
    assert store.sanctioned_baseline(IDENTITY, 365) is None
    again = measured(store, samples.digest("again"), 30)
    assert store.sanctioned_baseline(IDENTITY) == again
    assert [(row.generation, row.valid) for row in store.list_baselines()] == [(1, True), (0, False)]


def test_a_plan_may_ask_for_a_fresher_one_than_was_sanctioned(store: Store) -> None:
    measured(store, IDENTITY, 90)
    age(store, IDENTITY, 20)
    assert store.sanctioned_baseline(IDENTITY, 21) == IDENTITY
    assert store.sanctioned_baseline(IDENTITY, 19) is None


def test_a_revoked_one_is_never_reused(store: Store) -> None:
    measured(store, IDENTITY)
    assert store.revoke_baseline(IDENTITY[:10], "measured beside a training", "ada@example.com") == IDENTITY
    assert store.sanctioned_baseline(IDENTITY) is None
    (row,) = store.list_baselines()
    assert (row.valid, row.reason) == (False, "measured beside a training")
    (event,) = store.events(kind="baseline.revoked")
    assert (event.actor, event.subject) == ("ada@example.com", IDENTITY)
    with pytest.raises(InputError, match="no sanctioned baseline"):
        store.revoke_baseline("ffff", "no such", "ada@example.com")
    measured(store, samples.digest("another"))
    with pytest.raises(InputError, match="several"):
        store.revoke_baseline("", "all of them", "ada@example.com")


def test_runs_that_used_it_are_counted(store: Store) -> None:
    measured(store, IDENTITY)
    plan = store.put_plan(samples.plan())
    for reused in (False, True, True):
        run = store.start_run(plan=plan, profile="internal")
        store.record_play(run, play="baseline", key=IDENTITY, reused=reused, seconds=1.0)
    assert store.list_baselines()[0].runs == 3
