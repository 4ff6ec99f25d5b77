"""A gate may be loosened for a good reason, never unseen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from factories import made_plan
from hypothesis import given
from hypothesis import strategies as st

from quantplay.gate.erosion import Look, earlier_looks, gate_changes
from quantplay.gate.sentences import LOOKS
from quantplay.plan import Plan

DAY = datetime(2026, 11, 1, tzinfo=UTC)


def changed(plan: Plan, path: str, value: object, name: str = "another") -> Plan:
    body: dict[str, Any] = plan.body() | {"name": name}
    part = body
    *parents, last = path.split(".")
    for parent in parents:
        part = part[parent]
    if value is None and parents[:2] == ["gate", "slices"]:
        del part[last]
    else:
        part[last] = value
    body["schema"] = body.pop("schema_version")
    return Plan.model_validate(body)


def looked(plan: Plan, days: int = 0) -> Look:
    return Look(plan=plan, at=DAY + timedelta(days=days))


STRICT = made_plan()


@pytest.mark.parametrize(
    ("path", "value", "field", "before", "now"),
    [
        ("gate.slices.output_format.max_drop", 6.0, "slices.output_format.max_drop", "4 points", "6 points"),
        ("gate.slices.output_format.broken_drop", 9.5, "slices.output_format.broken_drop", "8 points", "9.5 points"),
        ("gate.hardest.max_drop", 10.0, "hardest.max_drop", "9 points", "10 points"),
        ("gate.hardest.max_loss_rise", 0.15, "hardest.max_loss_rise", "0.1 nats", "0.15 nats"),
        ("gate.hardest.share", 0.3, "hardest.share", "10 %", "30 %"),
        ("envelope.max_artifact_mib", 8.0, "envelope.max_artifact_mib", "4", "8"),
        ("envelope.max_artifact_mib", None, "envelope.max_artifact_mib", "4", "no limit"),
        ("envelope.max_slowdown", 2.0, "envelope.max_slowdown", "1.25", "2"),
    ],
)
def test_what_is_laxer_is_named(path: str, value: object, field: str, before: str, now: str) -> None:
    found = gate_changes(changed(STRICT, path, value), [looked(STRICT)])
    assert [(one.field, one.before, one.now) for one in found if one.field != LOOKS] == [(field, before, now)]
    assert found[0].plan == STRICT.digest()
    assert found[0].looked_at.startswith("2026-11-01")
    # The other way round the gate became stricter, which nobody has to be told.
    back = gate_changes(STRICT, [looked(changed(STRICT, path, value))])
    assert [one.field for one in back] == [LOOKS]


def test_a_slice_left_out_of_the_gate_is_named() -> None:
    body = STRICT.body()
    del body["gate"]["slices"]["edge_cases"]
    body["schema"] = body.pop("schema_version")
    fields = {one.field: one.now for one in gate_changes(Plan.model_validate(body), [looked(STRICT)])}
    assert fields["slices.edge_cases.max_drop"] == fields["slices.edge_cases.broken_drop"] == "not gated"


def test_the_strictest_earlier_look_counts() -> None:
    field = "gate.slices.multi_step.max_drop"
    looks = [looked(changed(STRICT, field, drop, f"plan-{day}"), day) for day, drop in enumerate((5.0, 3.0, 6.0))]
    found = gate_changes(changed(STRICT, field, 4.5), looks)
    assert (found[0].before, found[0].now, found[0].looked_at[:10]) == ("3 points", "4.5 points", "2026-11-02")
    assert found[-1].field == LOOKS
    assert found[-1].before == "3 looks by 3 other plans"


def test_the_first_look_has_nothing_to_compare_with() -> None:
    assert gate_changes(STRICT, []) == ()


@given(st.lists(st.tuples(st.sampled_from(["a" * 64, "b" * 64, "c" * 64]), st.integers(0, 50)), max_size=12))
def test_only_looks_of_others_before_the_own_first_one_count(drawn: list[tuple[str, int]]) -> None:
    looks = [(digest, DAY + timedelta(hours=hour)) for digest, hour in drawn]
    found = earlier_looks(looks, "a" * 64)
    own = [at for digest, at in looks if digest == "a" * 64]
    assert all(digest != "a" * 64 for digest, _ in found)
    assert all(at < min(own) for _, at in found) if own else len(found) == len(looks)
