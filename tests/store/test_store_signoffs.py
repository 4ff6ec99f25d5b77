"""Sign-offs in a real database: recorded once with their event, found by run and by decision, and what a run waits for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
import store_samples as samples

from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.records import SignOff
from quantplay.store.registry import Store
from quantplay.store.signoffs import Awaiting

TRAIL = {"baseline": samples.digest("baseline")}


def signoff(run: UUID | str, number: int, **changes: Any) -> SignOff:
    """A record as the library makes it; its signature is not the database's business."""
    body = {
        "run": str(run), "stage": "gate", "role": "ml_engineer", "verdict": "approve", "person": "ada@example.com",
        "comment": "", "gate": samples.digest("gate"), "decision": samples.digest("decision"), "nonce": f"{number:032x}",
        "issued_at": "2026-11-21T03:00:00Z", "expires_at": "2026-11-28T03:00:00Z", "recorded_at": "2026-11-21T03:01:00Z",
        "text": f"text {number}", "signature": "signature", "key": "SHA256:key", "owners": samples.digest("owners"),
    }  # fmt: skip
    return SignOff.model_validate(body | changes)


def opened(
    store: Store, name: str = "pilot", *, gate: str = "gate", model: str = "model", path: str = "/plans/p.yaml"
) -> UUID:
    plan = samples.plan(name=name)
    run = store.start_run(plan=store.put_plan(plan), profile="production")
    body = {
        "plan": plan.digest(), "gate": samples.digest(gate), "inputs": {"model": samples.digest(model)}, "plan_path": path,
    }  # fmt: skip
    store.append_event("quantplay", "run.opened", str(run), body)
    return run


def waits(store: Store, run: UUID, stage: str = "gate") -> None:
    """What the flow leaves when it stops for a signature."""
    body = {
        "stage": stage, "gate": samples.digest("gate"), "decision": samples.digest("decision"), "gate_changes": 0,
        "package": samples.digest("package") if stage == "lock" else None,
        "manifest": samples.digest("manifest") if stage == "lock" else None, "trail": TRAIL,
    }  # fmt: skip
    store.append_event("quantplay", "run.awaiting", str(run), body)
    store.finish_run(run, outcome="awaiting_signature", exit_code=10)


def test_recorded_with_its_event_and_found_by_run_and_decision(store: Store) -> None:
    first, second = uuid4(), uuid4()
    rejected = signoff(first, 1, verdict="reject", comment="edge cases")
    approved = signoff(second, 2)
    other = signoff(second, 3, decision=samples.digest("other"))
    for one in (rejected, approved, other):
        store.put_signoff(one)
    assert store.signoffs_of(first) == (rejected,)
    assert store.signoffs_of(second) == (approved, other)
    assert store.signoffs_of_decision(samples.digest("decision")) == (
        rejected,
        approved,
    )  # the earlier rejection is visible
    events = store.events(kind="signoff.recorded", subject=str(first))
    assert [event.actor for event in events] == ["ada@example.com"]
    assert events[0].body["signoff"] == rejected.digest()
    assert (events[0].body["verdict"], events[0].body["comment"]) == ("reject", "edge cases")
    assert store.verify_events() == ()


def test_a_text_is_used_once(store: Store) -> None:
    run, other = uuid4(), uuid4()
    store.put_signoff(signoff(run, 1))
    for again in (signoff(run, 1), signoff(run, 1, recorded_at="2026-11-21T03:09:00Z"), signoff(other, 1)):
        with pytest.raises(InputError, match="used before"):
            store.put_signoff(again)
    assert len(store.signoffs_of(run)) == 1
    assert store.signoffs_of(other) == ()
    assert len(store.events(kind="signoff.recorded")) == 1


def test_a_refused_one_leaves_nothing(store: Store) -> None:
    def refuse(recorded: Sequence[SignOff], awaiting: Awaiting | None, used: str | None) -> list[Fault]:
        return [Fault(where="role", what="is wrong"), Fault(where="gate", what="is another")]

    with pytest.raises(InputError, match=r"(?s)role: is wrong.*gate: is another"):
        store.put_signoff(signoff(uuid4(), 1), refuse)
    assert store.events(kind="signoff.recorded") == ()


def test_two_at_once_see_each_other(store: Store) -> None:
    """Of two texts that exclude each other, such as one person in both roles, one is refused whichever comes first."""
    run = uuid4()

    def alone(recorded: Sequence[SignOff], awaiting: Awaiting | None, used: str | None) -> list[Fault]:
        return [Fault(where="person", what="signed here already")] if recorded else []

    def put(number: int) -> bool:
        try:
            store.put_signoff(signoff(run, number), alone)
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(put, range(8))) == 1
    assert len(store.signoffs_of(run)) == 1


def test_the_same_text_twice_at_once_is_recorded_once(store: Store) -> None:
    def put(number: int) -> bool:
        try:
            store.put_signoff(signoff(UUID(int=number), 7))
        except (InputError, IntegrityError):
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(put, range(6))) == 1
    assert len(store.events(kind="signoff.recorded")) == 1
    assert store.verify_events() == ()


def test_what_a_run_waits_for(store: Store) -> None:
    run = opened(store)
    assert store.awaiting(run) is None  # it has not stopped yet
    waits(store, run)
    found = store.awaiting(run)
    assert found is not None
    assert (found.stage, found.decision, found.manifest) == ("gate", samples.digest("decision"), None)
    assert (found.plan_path, found.inputs, found.trail) == ("/plans/p.yaml", {"model": samples.digest("model")}, TRAIL)
    store.append_event("quantplay", "run.resumed", str(run), {"plan_path": "/elsewhere/p.yaml"})
    waits(store, run, "lock")
    found = store.awaiting(run)
    assert found is not None
    assert (found.stage, found.manifest, found.plan_path) == ("lock", samples.digest("manifest"), "/elsewhere/p.yaml")


def test_a_killed_resume_still_waits_and_an_ended_run_does_not(store: Store) -> None:
    run = opened(store)
    waits(store, run)
    row = store.get_run(str(run))
    assert row is not None
    store.start_run(plan=row.plan, profile="production", run=run)  # and killed
    assert store.awaiting(run) is not None
    store.finish_run(run, outcome=None, exit_code=3, state="failed")  # or the disk was full
    assert store.awaiting(run) is not None
    for outcome, code in (("locked", 0), ("rejected", 16)):
        store.finish_run(run, outcome=outcome, exit_code=code)
        assert store.awaiting(run) is None
    assert store.awaiting(uuid4()) is None


def test_the_newest_run_of_a_plan_that_waits(store: Store) -> None:
    old, new, ended, other = opened(store), opened(store), opened(store), opened(store, "other")
    for run in (old, new, ended, other):
        waits(store, run)
    store.finish_run(ended, outcome="rejected", exit_code=16)
    found = store.awaiting_of_plan(samples.plan(name="pilot").digest())
    assert [one.run for one in found] == [str(new), str(old)]


def test_a_gate_changed_by_a_newer_run(store: Store) -> None:
    before = opened(store, gate="looser")
    run = opened(store)
    opened(store)  # the same gate
    opened(store, gate="other", model="another model")
    opened(store, "another", gate="other")
    assert store.newer_gates(run) == ()
    changed = opened(store, gate="looser")
    assert store.newer_gates(run) == ((str(changed), samples.digest("looser")),)
    assert [gate for _, gate in store.newer_gates(before)] == [samples.digest("gate"), samples.digest("gate")]


def test_going_back_to_the_older_gate_makes_its_run_the_newer_one(store: Store) -> None:
    """Else nobody could ever approve the run that waits, once another gate was tried."""
    run = opened(store)
    tried = opened(store, gate="looser")
    assert store.newer_gates(run) == ((str(tried), samples.digest("looser")),)
    store.append_event("quantplay", "run.resumed", str(run), {"plan_path": "/plans/p.yaml"})
    assert store.newer_gates(run) == ()
    assert store.newer_gates(tried) == ((str(run), samples.digest("gate")),)


def test_a_run_whose_baseline_was_revoked_is_neither_locked_nor_gone_on_with(store: Store) -> None:
    from quantplay.cli.run_records import why_revoked
    from tasks.lock import require_not_revoked
    from tasks.results import Trail
    from tasks.signoffs import run_to_resume
    from tasks.workbench import RunRef

    key = TRAIL["baseline"]
    store.put_baseline(key, samples.baseline())
    store.sanction_baseline(key, key)
    run, plan = opened(store), samples.plan(name="pilot").digest()
    waits(store, run)
    found = store.awaiting(run)
    ref = RunRef.model_construct(run=str(run), plan_path="/plans/p.yaml", plan=plan)
    inputs = {"model": samples.digest("model")}
    require_not_revoked(store, ref, Trail(baseline=key))
    assert why_revoked(store, found) is None
    assert run_to_resume(store, plan, inputs, None) == found
    store.revoke_baseline(key, "measured beside a training", "ada@example.com")
    assert why_revoked(store, found) == "measured beside a training"
    assert run_to_resume(store, plan, inputs, None) is None
    assert run_to_resume(store, plan, inputs, str(run)) == found  # so that it can still be rejected
    with pytest.raises(InputError, match=r"(?s)can't be locked.*measured beside a training.*new baseline"):
        require_not_revoked(store, ref, Trail(baseline=key))
