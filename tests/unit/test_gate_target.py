"""Another chip than the one that serves is flagged, and stops a production plan without a recorded reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from factories import made_plan, made_plan_text

from quantplay.envelope.hardware import read_hardware
from quantplay.errors import InputError
from quantplay.gate.sentences import remarks
from quantplay.gate.target import check_target, names_a_chip
from quantplay.plan import Plan
from quantplay.plays.check import check_plan
from quantplay.plays.target import require_target, target_waivers
from quantplay.records import Decision

CHIP = "AMD EPYC 9B14  96-Core Processor"


@pytest.mark.parametrize(
    ("target", "same"),
    [
        ("this machine", True),
        ("This  Machine", True),
        ("amd epyc 9b14 96-core processor", True),
        ("AMD EPYC 9B14*", True),
        ("AMD EPYC ?B14*", True),
        ("AMD EPYC 9B15*", False),
        ("AMD EPYC", False),
        (None, False),
    ],
)
def test_which_names_are_the_same_chip(target: str | None, same: bool) -> None:
    envelope = made_plan().envelope.model_copy(update={"target_chip": target})
    assert check_target(envelope, CHIP).same is same


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("this machine", True),
        (CHIP, True),
        ("AMD EPYC*", True),
        ("NVIDIA A100*", True),
        ("NVIDIA H?00*", True),
        (None, False),
        ("*", False),
        ("AMD*", False),
        ("NVIDIA*", False),
        ("*e*", False),
    ],
)
def test_a_pattern_that_unlike_chips_match_names_none(target: str | None, names: bool) -> None:
    assert names_a_chip(target) is names


def plan_with(**changes: Any) -> Plan:
    body = made_plan().body()
    body["schema"] = body.pop("schema_version")
    body["envelope"] |= {"target_chip": changes.pop("target_chip", None)}
    return Plan.model_validate(body | changes)


def test_a_production_plan_needs_the_chip_that_serves() -> None:
    here = read_hardware()
    require_target(plan_with(profile="production", target_chip="this machine"), here)
    require_target(plan_with(profile="internal", target_chip="NVIDIA H200"), here)
    for target in (None, "NVIDIA H200", "*", "*e*"):
        with pytest.raises(InputError, match="chip that will serve") as caught:
            require_target(plan_with(profile="production", target_chip=target), here)
        assert here.cpu in str(caught.value)
        assert "envelope.target_chip" in str(caught.value)


def test_a_reason_lets_it_through_and_is_recorded() -> None:
    here = read_hardware()
    reason = "the serving chip arrives in January"
    deviations = [{"rule": "envelope.target_chip", "reason": reason}]
    plan = plan_with(profile="production", target_chip="NVIDIA H200", deviations=deviations)
    require_target(plan, here)
    (waiver,) = target_waivers(plan, here)
    assert (waiver.rule, waiver.reason) == ("envelope.target_chip", reason)
    assert "NVIDIA H200" in waiver.what
    # Where the chip is the right one, the deviation accepts nothing.
    assert list(target_waivers(plan_with(target_chip="this machine", deviations=deviations), here)) == []


@pytest.mark.parametrize(("profile", "where"), [("production", "faults"), ("internal", "warnings")])
def test_check_says_so(profile: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    text = made_plan_text().replace("profile: internal", f"profile: {profile}")
    path.write_text(text.replace("device: cpu,", "device: cpu, target_chip: NVIDIA H200,"))
    found = getattr(check_plan(path), where)
    assert [fault for fault in found if fault.what.startswith("envelope.target_chip")]


def test_every_remark_is_a_sentence(passing_decision: Decision) -> None:
    decision = passing_decision.model_copy(
        update={"target": check_target(plan_with(target_chip="NVIDIA H200").envelope, CHIP)}
    )
    assert remarks(decision) == (
        f"Speed and memory were measured on {CHIP}, not on NVIDIA H200, which will serve the model.",
    )


@pytest.fixture
def passing_decision() -> Decision:
    from factories import made_run

    decision = made_run("pass").decision
    assert decision is not None
    return decision
