"""`quantplay registry incidents`, `lessons` and what shows lessons elsewhere, on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from locked_models import lock_model

from quantplay.audit import audit
from quantplay.cli.render_audit import backward_parts
from quantplay.outcomes import AUDIT_FOUND
from quantplay.store.registry import Store

Ask = Callable[..., str]
TOLD = {
    "reason": "the driver was rolled back", "lesson": "Drivers that round another way pass every benchmark of speed.",
    "folded_into": "evaluation_item", "where": "gate-0481",
}  # fmt: skip


@pytest.fixture
def incident(store: Store) -> str:
    opened = store.open_incident(kind="regression", package=lock_model(store, "desk"), what="Orders are wrong.")
    return str(opened.id)


@pytest.mark.parametrize("missing", TOLD)
def test_an_incident_stays_open_where_something_is_left_out(ask: Ask, incident: str, missing: str) -> None:
    said = ask(
        "incidents", code=2, close=incident[:8], **{name: told for name, told in TOLD.items() if name != missing}
    )
    assert f"--{missing.replace('_', '-')}" in said
    (one,) = json.loads(ask("incidents", json=True))["incidents"]
    assert (one["open"], one["lesson"], one["resolution"]) == (True, None, None)


def test_what_a_lesson_is_folded_into_is_one_of_four(ask: Ask, incident: str) -> None:
    for elsewhere in ("none", "a drawer"):
        said = ask("incidents", code=2, close=incident, **TOLD | {"folded_into": elsewhere})
        assert "standard, calibration, evaluation_item, documentation" in said
        assert "evaluation_item" in ask("lessons", code=2, folded_into=elsewhere)
    assert "nothing is to be closed" in ask("incidents", code=2, **TOLD)


def test_a_closed_incident_is_shown_with_its_lesson_wherever_its_model_is(
    ask: Ask, store: Store, incident: str
) -> None:
    (package,) = (one.key for one in store.find_packages())
    assert "No lesson so far." in ask("lessons")
    table = " ".join(ask("incidents", close=incident[:8], **TOLD).split())
    for told in ("closed", TOLD["lesson"], "evaluation item: gate-0481", TOLD["reason"]):
        assert told in table
    (one,) = json.loads(ask("lessons", json=True, text="DRIVERS", model="desk"))["lessons"]
    assert (one["id"], one["package"], one["name"], one["folded_into"], one["folded_where"]) == (
        incident, package, "desk", "evaluation_item", "gate-0481",
    )  # fmt: skip
    assert "No lesson like this so far." in ask("lessons", kind="live rollback")
    assert "gate-0481" in ask("registry_show", package=package)
    (taught,) = json.loads(ask("audit", subject=package, json=True, code=AUDIT_FOUND))["lessons"]
    assert (taught["incident"], taught["where"], taught["what"]) == (incident, "gate-0481", "Orders are wrong.")
    backward = " ".join(str(part) for part in backward_parts(audit(store, package, "package"), ()))
    assert f"{TOLD['lesson']}\n   Orders are wrong. Folded into evaluation item: gate-0481." in backward


def test_the_list_of_lessons_says_who_saw_regressions_first(ask: Ask, incident: str) -> None:
    told = " ".join(ask("lessons").split())
    assert "0 caught at the gate, 1 by re-validation before anybody was served, 0 escaped to production" in told
    body = json.loads(ask("lessons", json=True))["regressions"]
    assert body["seen_first"] == {"gate": 0, "revalidation": 1, "production": 0}
    assert [one["evidence"] for one in body["all"]] == [f"incident {incident}"]
