"""Which signatures are accepted and which count: every rule by itself, and all at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from signers import DECISION, GATE, MANIFEST, RUN, Team, made_statement, made_team, owners_text, signed

from quantplay.errors import Fault
from quantplay.records import SignOff
from quantplay.signoff import Case, Owners, check_signoff, read_owners, read_owners_text, standing, verified
from quantplay.signoff.rules import run_fault
from quantplay.signoff.text import Statement

CASE = Case(
    run=RUN, stage="gate", gate=GATE, decision=DECISION, manifest=None, gate_changes=0, plan_path="plan.yaml",
    plan_gate=GATE,
)  # fmt: skip
LOCK = replace(CASE, stage="lock", manifest=MANIFEST)
OTHER = "d" * 64


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return made_team(tmp_path_factory.mktemp("team"))


@pytest.fixture(scope="module")
def owners(team: Team) -> Owners:
    return read_owners(team.owners)


def checked(
    statement: Statement, case: Case, owners: Owners, *, good: bool = True, later: timedelta = timedelta()
) -> Any:
    person = owners.person(statement.person)
    key = person.fingerprints[0] if person and good else None
    return check_signoff(statement, case, owners, signed_with=key, now=datetime.now(UTC) + later)


def words(faults: tuple[Fault, ...]) -> str:
    return " | ".join(map(str, faults))


def test_a_right_signature_is_accepted(owners: Owners) -> None:
    assert checked(made_statement("ml_engineer", "ada@example.com"), CASE, owners) == ()
    assert checked(made_statement("product_owner", "Grace Hopper"), CASE, owners) == ()
    assert checked(made_statement("product_owner", "Grace Hopper", stage="lock"), LOCK, owners) == ()


@pytest.mark.parametrize(
    ("statement", "case", "expected"),
    [
        ({"person": "eve"}, CASE, "person: is not in the owners file"),
        ({"role": "product_owner"}, CASE, "role: is not a role of ada@example.com"),
        ({"role": "on_call"}, CASE, "role: signs nothing at stage gate"),
        ({"run": RUN.replace("3", "4")}, CASE, "run: names another run"),
        ({"gate": OTHER}, CASE, "gate: names another gate"),
        ({"decision": OTHER}, CASE, "decision: names another decision"),
        ({"stage": "lock"}, CASE, "stage: is another than the one this run waits at"),
        ({"stage": "lock", "manifest": OTHER}, LOCK, "manifest: names another package"),
        ({}, LOCK, "stage: is another"),
        ({}, replace(CASE, gate_changes=2), "gate changes: is another number"),
        ({}, replace(CASE, nonce_used_at="2026-11-21T03:00:00Z"), "nonce: this text has been used before"),
        ({"now": datetime.now(UTC) - timedelta(days=8)}, CASE, "expires: the text has expired"),
        ({"now": datetime.now(UTC) + timedelta(hours=1)}, CASE, "issued: the text was issued in the future"),
        ({}, replace(CASE, plan_gate=OTHER), "plan.yaml: the plan's gate was changed since this run decided"),
        ({}, replace(CASE, newer=(("4" * 36, OTHER),)), "a newer run of this plan and model froze another gate"),
    ],
)  # fmt: skip
def test_each_rule_refuses_for_its_reason(owners: Owners, statement: Any, case: Case, expected: str) -> None:
    given = {"role": "ml_engineer", "person": "ada@example.com"} | statement
    found = words(checked(made_statement(given.pop("role"), given.pop("person"), **given), case, owners))
    assert expected in found


def test_a_signature_that_does_not_verify_is_refused(owners: Owners) -> None:
    found = checked(made_statement("ml_engineer", "ada@example.com"), CASE, owners, good=False)
    assert words(found).startswith("signature: does not verify")


def test_a_text_may_not_give_itself_more_time(owners: Owners) -> None:
    statement = made_statement("ml_engineer", "ada@example.com")
    longer = statement.model_copy(update={"expires_at": "2099-01-01T00:00:00Z"})
    assert "valid for a time that quantplay does not give" in words(checked(longer, CASE, owners))


def test_a_plan_that_is_not_on_this_machine_is_no_reason(owners: Owners) -> None:
    assert checked(made_statement("ml_engineer", "ada@example.com"), replace(CASE, plan_gate=None), owners) == ()


def test_everything_wrong_is_said_at_once(owners: Owners) -> None:
    statement = made_statement("product_owner", "ada@example.com", gate=OTHER, decision=OTHER)
    case = replace(CASE, nonce_used_at="x", plan_gate=OTHER)
    found = checked(statement, case, owners, good=False, later=timedelta(days=8))
    assert {fault.where for fault in found} == {
        "signature",
        "role",
        "gate",
        "decision",
        "nonce",
        "expires",
        "plan.yaml",
    }


def test_one_person_does_not_sign_in_both_roles(team: Team) -> None:
    text = owners_text((team.ada, "ml_engineer, product_owner"), (team.grace, "product_owner"))
    both = read_owners_text(text.encode(), "owners.yaml")
    first = signed(team, "ml_engineer")
    case = replace(CASE, recorded=(first,))
    found = words(checked(made_statement("product_owner", "ada@example.com"), case, both))
    assert "signed here already as ml_engineer; the two roles need two people" in found
    assert checked(made_statement("product_owner", "Grace Hopper"), case, both) == ()
    assert checked(made_statement("ml_engineer", "ada@example.com"), case, both) == ()  # again in the same role


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_nobody_overrides_a_stage_that_was_decided_meanwhile(team: Team, owners: Owners, verdict: Any) -> None:
    """Between the passphrase prompt and the record somebody else said no, or the last yes was recorded."""
    ml, product = signed(team, "ml_engineer"), signed(team, "product_owner")
    no = signed(team, "product_owner", verdict="rework")
    statement = made_statement("ml_engineer", "ada@example.com", verdict=verdict)
    for recorded, expected in (
        ((no,), "was rejected meanwhile; found rework by Grace Hopper"), ((ml, no), "was rejected meanwhile"),
        ((ml, product), "was approved meanwhile"), ((ml,), None), ((), None),
    ):  # fmt: skip
        found = words(checked(statement, replace(CASE, recorded=recorded), owners))
        assert found == "" if expected is None else expected in found, found


def test_who_says_no_is_heard_whatever_became_of_the_gate(owners: Owners) -> None:
    case = replace(CASE, plan_gate=OTHER, newer=(("4" * 36, OTHER),))
    verdicts: Any = ("approve", "reject", "rework")
    found = {
        one: checked(made_statement("ml_engineer", "ada@example.com", verdict=one), case, owners) for one in verdicts
    }
    assert {one: len(faults) for one, faults in found.items()} == {"approve": 2, "reject": 0, "rework": 0}


@pytest.mark.parametrize(
    ("profile", "awaits", "expected"),
    [
        ("explore", True, "can't be signed or locked"), ("internal", False, "asks for no signature"),
        ("production", False, "does not wait for a signature"),
    ],
)  # fmt: skip
def test_runs_that_take_no_signature(profile: str, awaits: bool, expected: str) -> None:
    fault = run_fault(RUN, profile, "locked", awaits)
    assert fault is not None
    assert expected in str(fault)
    assert run_fault(RUN, "production", "awaiting_signature", True) is None


# --- what counts -----------------------------------------------------------------------------------------------------


def stands(*signoffs: SignOff, **more: Any) -> Any:
    return standing("gate", signoffs, **({"gate": GATE, "decision": DECISION, "gate_changes": 0} | more))


def test_approved_needs_both_roles_and_the_latest_verdict_counts(team: Team) -> None:
    ml, product = signed(team, "ml_engineer"), signed(team, "product_owner")
    assert (stands().state, stands().missing) == ("awaiting", ("ml_engineer", "product_owner"))
    assert (stands(ml).state, stands(ml).missing) == ("awaiting", ("product_owner",))
    assert stands(ml, product).state == "approved"
    no = signed(team, "product_owner", verdict="rework", comment="edge cases")
    assert stands(ml, product, no).state == "rejected"
    assert stands(ml, product, no).refusals == (no,)
    assert stands(no).state == "rejected"  # one refusal is enough
    assert stands(ml, no, product).state == "approved"


def test_what_is_about_something_else_does_not_count(team: Team) -> None:
    ml, other = signed(team, "ml_engineer"), signed(team, "product_owner", decision=OTHER)
    found = stands(ml, other)
    assert found.missing == ("product_owner",)
    assert [void.why for void in found.void] == ["names another decision"]
    lock = signed(team, "product_owner", stage="lock")
    assert stands(ml, lock).missing == ("product_owner",)
    assert standing("lock", [lock], gate=GATE, decision=DECISION, gate_changes=0, manifest=MANIFEST).state == "approved"
    assert standing("lock", [lock], gate=GATE, decision=DECISION, gate_changes=0, manifest=OTHER).missing == (
        "product_owner",
    )


def test_a_text_that_hides_gate_changes_does_not_count(team: Team) -> None:
    ml, product = signed(team, "ml_engineer", gate_changes=4), signed(team, "product_owner")
    found = stands(ml, product, gate_changes=4)
    assert (found.missing, found.void[0].why) == (("product_owner",), "names another number of gate changes")
    assert stands(ml, product).missing == ("ml_engineer",)
    unreadable = ml.model_copy(update={"text": "gate changes: 0"})
    assert stands(unreadable).missing == ("ml_engineer", "product_owner")


def test_a_void_signature_takes_nothing_away_from_the_one_before(team: Team, owners: Owners) -> None:
    """Void ones are dropped first, then the latest of each role counts; in the run and in a package."""
    ml, product = signed(team, "ml_engineer"), signed(team, "product_owner")
    later = signed(team, "product_owner", verdict="reject").model_copy(update={"key": "SHA256:x"})
    good, void = verified([ml, product, later], owners)
    found = stands(*good, void=void)
    assert (found.state, found.counted, [one.signoff for one in found.void]) == ("approved", (ml, product), [later])


def test_one_person_in_both_roles_counts_once(team: Team) -> None:
    ml = signed(team, "ml_engineer")
    forged = ml.model_copy(update={"role": "product_owner"})
    found = stands(ml, forged)
    assert found.missing == ("product_owner",)
    assert "need two people" in found.void[0].why


def test_recorded_signatures_are_verified_again(team: Team, owners: Owners) -> None:
    ml = signed(team, "ml_engineer")
    good, void = verified([ml], owners)
    assert (good, void) == ((ml,), ())
    changes: dict[str, Any] = {
        "verdict": "reject", "decision": OTHER, "comment": "x", "person": "Grace Hopper", "text": ml.text + " ",
        "signature": signed(team, "product_owner").signature, "key": "SHA256:x", "recorded_at": "2020-01-01T00:00:00Z",
        "nonce": "0" * 32, "expires_at": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    for name, value in changes.items():
        good, void = verified([ml.model_copy(update={name: value})], owners)
        assert (good, len(void)) == ((), 1), name


def test_a_signature_counts_while_its_key_is_in_the_owners_file(team: Team) -> None:
    ml = signed(team, "ml_engineer")
    for people in (((team.grace, "product_owner"),), ((team.ada, "on_call"), (team.grace, "product_owner"))):
        good, void = verified([ml], read_owners_text(owners_text(*people).encode(), "owners.yaml"))
        assert good == ()
        assert "ada@example.com is not" in void[0].why
