"""Re-validations and incidents: recorded once, newest first, at most one open incident a package, closed with who and why."""

from __future__ import annotations

import pytest
import store_samples as samples

from quantplay.errors import InputError
from quantplay.records import MadeOf, Revalidation, StandingStatus
from quantplay.store.registry import Store
from quantplay.store.revalidations import REVALIDATED

PACKAGE = samples.digest("package")
EVALUATION = samples.evaluation()
MEASURED = samples.digest("measured")


def revalidation(status: StandingStatus = "confirmed", at: str = "2026-11-21T09:00:00+00:00") -> Revalidation:
    return Revalidation(
        package=PACKAGE, artifact=samples.digest("artifact"), evaluation=samples.digest("evaluation"), trigger="by hand", at=at,
        status=status, reasons=("All is as it was.",), stack_then=samples.FINGERPRINT.digest(),
        stack_now=samples.FINGERPRINT.digest(), stack=samples.FINGERPRINT, changes=(), harness_then=samples.digest("harness"),
        harness_now=samples.digest("harness"), measured=MEASURED, items=20, lost=0, won=0,
        responses_changed=0, slices=(), against_baseline="pass", envelope=(), alarms=(), divergence_then=EVALUATION.divergence,
        divergence_now=EVALUATION.divergence, performance_then=EVALUATION.performance, performance_now=EVALUATION.performance,
    )  # fmt: skip


def test_recorded_once_with_what_was_measured_and_one_event(store: Store) -> None:
    found = revalidation()
    key, incident = store.put_revalidation(found, EVALUATION)
    assert store.put_revalidation(found, EVALUATION) == (key, None)
    assert incident is None
    assert store.get_revalidation(key) == found
    assert store.get_evaluation(MEASURED) == EVALUATION
    assert [event.body["status"] for event in store.events(kind=REVALIDATED, subject=PACKAGE)] == ["confirmed"]


def test_the_newest_of_each_package_counts(store: Store) -> None:
    store.put_revalidation(revalidation("regressed"), EVALUATION)
    key, _ = store.put_revalidation(revalidation("confirmed", "2026-11-22T09:00:00+00:00"), EVALUATION)
    assert store.latest_revalidations()[PACKAGE][0] == key


def test_a_regression_found_twice_is_one_incident_and_after_its_end_a_new_one(store: Store) -> None:
    _, first = store.put_revalidation(revalidation("regressed"), EVALUATION)
    _, second = store.put_revalidation(revalidation("regressed", "2026-11-22T09:00:00+00:00"), EVALUATION)
    assert first is not None
    assert second == first
    closed = store.close_incident(
        str(first.id)[:6], by="dora", resolution="rolled the driver back", lesson=samples.LESSON
    )
    assert (closed.closed_by, closed.resolution, closed.closed_at is None) == ("dora", "rolled the driver back", False)
    _, third = store.put_revalidation(revalidation("regressed", "2026-11-23T09:00:00+00:00"), EVALUATION)
    assert third is not None
    assert third.id != first.id
    assert [one.id for one in store.list_incidents()] == [third.id, first.id]
    assert [one.id for one in store.list_incidents(open_only=True)] == [third.id]
    assert [event.actor for event in store.events(kind="incident.closed")] == ["dora"]


def test_only_one_open_incident_is_closed(store: Store) -> None:
    _, incident = store.put_revalidation(revalidation("regressed"), EVALUATION)
    assert incident is not None
    with pytest.raises(InputError, match="no open incident"):
        store.close_incident("zz", by="dora", resolution="nothing", lesson=samples.LESSON)
    store.close_incident(str(incident.id), by="dora", resolution="was a test", lesson=samples.LESSON)
    with pytest.raises(InputError, match="no open incident"):
        store.close_incident(str(incident.id), by="dora", resolution="again", lesson=samples.LESSON)


def test_packages_of_runs_that_ended_locked_are_listed(store: Store) -> None:
    plan = store.put_plan(samples.plan())
    made_of = MadeOf(
        plan=plan, baseline=samples.digest(1), artifact=samples.digest(2), evaluation=samples.digest(3),
        decision=samples.digest(4), inputs=(samples.digest(5),),
    )  # fmt: skip
    package = samples.package().model_copy(update={"made_of": made_of})
    store.put_evaluation(made_of.evaluation, EVALUATION)
    store.put_package(PACKAGE, package)
    other = samples.digest("waiting")
    store.put_package(other, samples.package())
    for key, outcome in ((PACKAGE, "locked"), (PACKAGE, "locked"), (other, "awaiting_signature")):
        run = store.start_run(plan=plan, profile="internal")
        store.finish_run(run, outcome=outcome, exit_code=0, package=key)
    listed = store.locked_packages()
    assert [(one.key, one.package, one.name, one.profile, one.locked_on) for one in listed] == [
        (PACKAGE, package, "desk", "internal", EVALUATION.fingerprint)
    ]
    assert store.locked_packages(PACKAGE[:5]) == listed
    assert store.locked_packages("0" * 10) == ()
