"""Requests for signatures in a real database: which run a flow run goes on with, what was shown, reminded of, and expired."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
import store_samples as samples
from test_store_signoffs import opened, signoff, waits

from quantplay.errors import IntegrityError
from quantplay.store.registry import Store
from quantplay.store.requests import ANSWERED, EXPIRED, REMINDED, REQUESTED


def asked(store: Store, run: UUID, flow_run: str, key: str) -> None:
    body: dict[str, Any] = {
        "flow_run": flow_run, "key": key, "stage": "gate", "decision": samples.digest("decision"),
        "expires_at": "2026-12-05T03:00:00Z", "texts": {"approve as ml_engineer by ada": "text"}, "page": None,
    }  # fmt: skip
    store.append_event("quantplay", REQUESTED, str(run), body)


def test_a_flow_run_goes_on_with_its_own_run_whoever_took_that_up_since(store: Store) -> None:
    plan = samples.plan()
    key = store.put_plan(plan)

    def started(flow_run: str, run: UUID | None = None) -> UUID:
        body = {"plan": key, "flow_run": flow_run}
        return store.start_run(plan=key, profile="production", run=run, prefect_flow_run_id=flow_run, body=body)

    first, second = started("flow-1"), started("flow-2")
    assert store.run_of_flow_run("flow-3") is None
    started("flow-3", first)  # takes the first run up; its row names flow-3 now
    assert [store.run_of_flow_run(f"flow-{number}") for number in (1, 2, 3)] == [str(first), str(second), str(first)]


def test_a_run_killed_before_its_first_event_is_found_by_its_row(store: Store) -> None:
    key = store.put_plan(samples.plan())
    run = store.start_run(plan=key, profile="production", prefect_flow_run_id="flow-1")
    assert store.run_of_flow_run("flow-1") == str(run)


def test_since_when_it_waits_and_what_was_done_about_it(store: Store) -> None:
    run = opened(store)
    assert store.waiting(run) is None
    waits(store, run)
    asked(store, run, "flow-1", "gate-1")
    asked(store, run, "flow-1", "gate-2")
    store.append_event("quantplay", REMINDED, str(run), {})
    found = store.waiting(run)
    assert found is not None
    assert (len(found.reminded), found.expired_at) == (1, None)
    assert found.request is not None
    assert (found.request.key, found.request.texts) == ("gate-2", {"approve as ml_engineer by ada": "text"})
    store.append_event("quantplay", EXPIRED, str(run), {})
    store.append_event("quantplay", ANSWERED, str(run), {"flow_run": "flow-1", "key": "gate-1", "refused": ["no"]})
    expired = store.waiting(run)
    assert expired is not None
    assert expired.expired_at is not None
    assert list(store.answered_requests(run)) == [("flow-1", "gate-1")]
    assert [one.waits.run for one in store.all_waiting()] == [str(run)]
    waits(store, run)  # asked again: everything begins anew
    again = store.waiting(run)
    assert again is not None
    assert (again.reminded, again.expired_at) == ((), None)
    assert again.asked_at > found.asked_at
    store.finish_run(run, outcome="locked", exit_code=0)
    assert (store.waiting(run), store.all_waiting()) == (None, ())


def test_a_signature_that_vanished_is_noticed(store: Store) -> None:
    run = opened(store)
    waits(store, run)
    no = signoff(run, 1, verdict="reject")
    store.put_signoff(no)
    with store.engine.begin() as connection:
        connection.execute(sa.text("delete from quantplay.signoffs where run = :run"), {"run": str(run)})
    with pytest.raises(IntegrityError, match="is gone from the database"):
        store.signoffs_of(run)
