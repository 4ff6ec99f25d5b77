"""The checklist: a yes has evidence, and taking a record away never makes anything better. The ranking of --backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from audit_records import Made, checked_waiver, made, policy
from audit_signs import approval
from factories import digest

from quantplay.audit import SECTIONS, Audit, answered
from quantplay.audit.backward import LINES, MISTAKES, causes
from quantplay.audit.facts import Facts, Release
from quantplay.audit.mistakes import CLASSICS
from quantplay.records import RollbackRules, Waiver

CLEAN = made()
RELEASE = Release(endpoint="chat", revision=1, policy=policy(), traffic=None)
RECORDS = (
    "plan", "calibration", "baseline", "envelope", "recipe", "artifact", "evaluation", "decision", "package", "releases", "signoffs",
    "manifests", "tried", "pins", "standing", "training", "mix",
)  # fmt: skip


@cache
def cases() -> dict[str, Facts]:
    """Good and bad ones."""
    production = made(profile="production")
    decided = production.records["decision"].digest()
    signed = (
        approval("gate", "ml_engineer", decided), approval("gate", "product_owner", decided), approval("lock", "product_owner", decided),
    )  # fmt: skip
    bad: Made = CLEAN.planned("envelope", target_chip="NVIDIA H100").record("recipe", method="via-gptq", group_size=0)
    low = CLEAN.record("recipe", type="Q3_K_M", trained=digest("w")).record("artifact", type="Q3_K_M")
    return {
        "clean": CLEAN.facts(),
        "production": production.facts(signoffs=signed),
        "endpoint": CLEAN.facts(kind="endpoint", releases=(RELEASE,)),
        "bad": bad.facts(pins={}),
        "trained": low.facts(),
        "waived": bad.record("decision", waivers=(Waiver(rule="envelope.target_chip", reason="late", what="w"),)).facts(),
        "generic": checked_waiver(CLEAN).facts(),
        "another evaluation": CLEAN.record("artifact", sha256=digest("other")).facts(),
    }  # fmt: skip


def by_question(found: Audit) -> dict[str, str]:
    return {one.question: one.answer for one in found.answers}


@pytest.mark.parametrize("case", cases())
def test_a_yes_has_evidence_and_every_line_an_owner(case: str) -> None:
    found = answered(cases()[case])
    assert [one.section for one in found.answers if one.section not in SECTIONS] == []
    assert [one.question for one in found.answers if one.answer == "yes" and not one.evidence] == []
    assert [one.question for one in found.answers if not one.owner or not one.why] == []
    assert [one.question for one in found.answers if one.answer == "waived" and not one.reason] == []
    questions = [one.question for one in found.answers]
    assert len(set(questions)) == len(questions)


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("record", RECORDS)
def test_a_record_less_never_makes_a_yes_of_a_no_or_an_unknown(case: str, record: str) -> None:
    facts = cases()[case]
    before = by_question(answered(facts))
    nothing = {"releases": (), "signoffs": (), "tried": (), "manifests": {}, "pins": {}}.get(record)
    less = replace(facts, **{record: nothing})
    better = {
        question: (before[question], now)
        for question, now in by_question(answered(less)).items()
        if now == "yes" and before.get(question, "yes") != "yes"
    }
    assert better == {}


def test_one_manifest_less_never_makes_a_yes() -> None:
    for case, facts in cases().items():
        before = by_question(answered(facts))
        for kind in facts.manifests:
            less = replace(facts, manifests={name: one for name, one in facts.manifests.items() if name != kind})
            after = by_question(answered(less))
            assert [one for one, now in after.items() if now == "yes" and before[one] != "yes"] == [], (case, kind)


def test_of_a_subject_with_no_record_at_all_everything_is_unknown() -> None:
    found = answered(Facts(kind="run", subject="nobody"))
    assert {one.answer for one in found.answers} == {"unknown"}
    assert found.mistakes == ()
    assert [one.question for one in found.answers if not one.why] == []


def test_the_ranking_begins_with_what_hides_most_and_knows_only_lines_that_exist() -> None:
    asked = {one.question for facts in cases().values() for one in answered(facts).answers}
    assert set(LINES) <= asked
    assert set(MISTAKES) == {one.name for one in CLASSICS}
    ranked = causes(answered(cases()["bad"]))
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)
    assert ranked[0].answer.mistake == "too_aggressive_too_soon"
    assert all(one.answer.answer != "yes" for one in ranked)
    assert all(1 <= one.weight <= 10 for one in (*LINES.values(), *MISTAKES.values()))


def test_what_somebody_accepted_ranks_below_the_same_thing_unseen() -> None:
    def score(case: str) -> float:
        return next(
            one.score for one in causes(answered(cases()[case])) if one.answer.mistake == "not_measured_on_target"
        )

    assert score("bad") > score("waived") > 0


@pytest.mark.parametrize(
    ("question", "facts"),
    [
        ("Is the decision about this very evaluation and baseline?", lambda: CLEAN.record("decision", evaluation=digest("x")).facts()),
        ("Did the frozen gate pass?", lambda: CLEAN.record("decision", verdict="close").facts()),
        ("Was the gate frozen before any result?", lambda: CLEAN.record("decision", gate=digest("x")).facts()),
        ("Is the recipe recorded that makes these bytes again?", lambda: CLEAN.record("artifact", recipe=digest("x")).facts()),
        ("Did the product owner sign the package?", lambda: made(profile="production").facts()),
        ("Does traffic rise in steps?", lambda: released(steps=(1.0,))),
        ("Are the rules in force those the plan fixed?", lambda: released(rules=RollbackRules(negligible=0.01))),
    ],
)  # fmt: skip
def test_a_line_says_no_without_any_of_the_seven(question: str, facts: Callable[[], Facts]) -> None:
    found = answered(facts())
    (line,) = [one for one in found.answers if one.question == question]
    assert (line.answer, bool(line.why), bool(line.fix), found.mistakes) == ("no", True, True, ())


def test_what_was_quantized_elsewhere_is_not_said_to_be_made_well_or_badly() -> None:
    unknown = {"imported": digest("theirs"), "method": "imported", "versions": {}, "calibration_samples": 0}
    for kind, serving in (("Q4_K_M", "gguf"), ("W4A16", "compressed-tensors")):
        run = CLEAN.record("recipe", type=kind, format=serving, **unknown)
        found = answered(run.record("artifact", type=kind, format=serving).facts())
        said = {one.question: (one.answer, one.why) for one in found.answers}
        assert said["Is the recipe recorded that makes these bytes again?"] == (
            "no",
            "It was quantized elsewhere and imported.",
        )
        assert said["Is the checked set the one the quantizer read?"][0] == "unknown"
        assert "Is the method calibrated, or does it do without?" not in said
        assert not {"generic_calibration"} & {one.name for one in found.mistakes}
        assert not any("was made by imported" in one.why for one in found.mistakes)


def released(**changes: object) -> Facts:
    rules = policy(**changes)
    return CLEAN.facts(kind="endpoint", releases=(Release(endpoint="chat", revision=1, policy=rules, traffic=None),))
