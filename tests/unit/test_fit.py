"""On which hardware a play of a run may be done."""

from __future__ import annotations

from factories import digest, made_plan

from quantplay.plan import Plan
from quantplay.plays.fit import misfit
from quantplay.records import Hardware

HERE = Hardware(cpu="AMD EPYC 9", cpu_features=digest("avx"), cores=8, memory_bytes=2**36)
LARGER = HERE.model_copy(update={"cores": 64})
RULE = "envelope.target_chip"


def plan(target: str | None, profile: str = "internal", *, accepted: bool = False) -> Plan:
    body = made_plan().body() | {"profile": profile}
    body["envelope"] = {"target_chip": target} if target else {}
    if accepted:
        body["deviations"] = [{"rule": RULE, "reason": "the machine room has no other yet"}]
    return Plan.model_validate(body)


def test_the_chip_that_the_envelope_names_is_needed_whatever_the_profile() -> None:
    for profile in ("internal", "production", "explore"):
        assert misfit(plan("AMD EPYC*", profile), HERE, None) is None
        assert misfit(plan("this machine", profile), HERE, None) is None
        assert misfit(plan("NVIDIA H100*", profile), HERE, None) == "the plan asks for NVIDIA H100*"
        assert misfit(plan("NVIDIA H100*", profile, accepted=True), HERE, None) is None


def test_only_a_production_plan_has_to_name_a_chip() -> None:
    assert misfit(plan(None), HERE, None) is None
    assert "does not name the chip" in str(misfit(plan(None, "production"), HERE, None))
    assert misfit(plan(None, "production", accepted=True), HERE, None) is None


def test_baseline_and_candidate_come_from_one_kind_of_machine_and_no_deviation_changes_that() -> None:
    assert misfit(plan(None), HERE, HERE) is None
    for accepted in (False, True):
        why = misfit(plan("this machine", accepted=accepted), HERE, LARGER)
        assert why is not None
        assert "64 cores" in why
