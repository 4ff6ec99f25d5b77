"""What is offered at the start of a run: the same model and runtime, nearest first, and in what it differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import yaml
from factories import digest, made_fingerprint
from plan_samples import PLAN

from quantplay.plan import Plan
from quantplay.plays.catalogue import Listed, stood
from quantplay.plays.reuse import offers
from quantplay.store.catalogue import Entry

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HERE = made_fingerprint()
ELSEWHERE = HERE.model_copy(update={"hardware": HERE.hardware.model_copy(update={"cpu": "Another CPU"})})


def plan_with(**envelope: Any) -> Plan:
    plan = Plan.model_validate(yaml.safe_load(PLAN))
    return plan.model_copy(update={"envelope": plan.envelope.model_copy(update=envelope)})


PLAIN = plan_with(types=("Q4_K_M",), target_chip=None)


def entry(name: str = "desk", **changes: Any) -> Entry:
    made = Entry(
        key=digest(name), run="r", path="/packages/desk", manifest=digest("m"), locked_at=NOW, plan=digest("p"), name=name,
        profile="internal", use_case=PLAIN.use_case, owner="ann", product_owner="bob", source="model", runtime="llama.cpp",
        base=digest("base"), method="llama.cpp-quantize", format="gguf", type="Q4_K_M", bits=4.5, bits_per_weight=4.6,
        size_bytes=5 << 20, sha256=digest("file"), verdict="pass", drops=(), stack=HERE, tokens_per_second=1.0,
        time_per_token_ms=1.0, peak_resident_bytes=1, full_precision_time_per_token_ms=2.0,
        full_precision_peak_resident_bytes=2, newest=None, incident=None, serving=(), aliases=(),
    )  # fmt: skip
    return replace(made, **changes)


def listed(*entries: Entry) -> tuple[Listed, ...]:
    return stood(entries, HERE, NOW)


def test_nothing_is_offered_where_nothing_is() -> None:
    assert offers((), PLAIN, HERE.hardware) == ()


def test_what_fits_in_everything_comes_first_and_says_so() -> None:
    other_use = entry("chat", use_case="Small talk.")
    found = offers(listed(other_use, entry()), PLAIN, HERE.hardware)
    assert [one.listed.entry.name for one in found] == ["desk", "chat"]
    assert found[0].differs == ()
    assert "the same model, runtime, type, chip and use case" in found[0].text()
    assert "confirmed" in found[0].text()
    assert "but its use case is “Small talk”" in found[1].text()
    assert found[0].commands() == (
        f"quantplay registry show {digest('desk')[:12]}",
        "quantplay release-check /packages/desk",
    )


def test_case_and_spacing_of_a_use_case_do_not_count() -> None:
    (found,) = offers(listed(entry(use_case="  " + PLAIN.use_case.upper())), PLAIN, HERE.hardware)
    assert found.differs == ()


def test_what_was_measured_elsewhere_is_stale_here_and_can_be_measured() -> None:
    (found,) = offers(listed(entry(stack=ELSEWHERE)), PLAIN, HERE.hardware)
    assert found.differs == ("it was measured on Another CPU",)
    assert "stale here" in found.text()
    assert f"quantplay revalidate {digest('desk')[:12]}" in found.commands()


def test_the_chip_that_the_plan_names_counts_and_not_this_one() -> None:
    plan = plan_with(types=(), target_chip="another *")
    there, here = offers(listed(entry("here"), entry("there", stack=ELSEWHERE)), plan, HERE.hardware)
    assert (there.listed.entry.name, there.differs) == ("there", ())
    assert here.differs == (f"it was measured on {HERE.hardware.cpu}",)
    same = plan_with(types=(), target_chip="this machine")
    assert offers(listed(entry(stack=ELSEWHERE)), same, HERE.hardware)[0].differs == ("it was measured on Another CPU",)


def test_a_type_that_the_plan_does_not_want_is_told() -> None:
    (found,) = offers(listed(entry(type="Q8_0")), PLAIN, HERE.hardware)
    assert found.differs == ("its type is Q8_0, and the plan wants Q4_K_M",)
    assert offers(listed(entry(type="Q8_0")), plan_with(types=(), target_chip=None), HERE.hardware)[0].differs == ()


def test_what_got_worse_is_not_offered() -> None:
    assert offers(listed(entry(incident="an id")), PLAIN, HERE.hardware) == ()


def test_a_few_are_enough() -> None:
    many = listed(*(entry(f"m{number}") for number in range(9)))
    assert [one.listed.entry.name for one in offers(many, PLAIN, HERE.hardware)] == ["m0", "m1", "m2"]
