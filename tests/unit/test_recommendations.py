"""What a run that stops short recommends: by its own numbers, with plan lines that a plan takes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import yaml
from factories import made_run
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.formats import TYPES
from quantplay.gate.ahead import cannot_train, play_ahead, room
from quantplay.plan import BusinessCase, Plan, Training
from quantplay.plays.mixing import ladder
from quantplay.plays.recommend import Situation, TypeSize, recommendations, share_needed
from quantplay.records import Decision, GroupOptions, MixChoice, TypeOption

MIB = 1 << 20
CASE = BusinessCase(
    requests_per_day=1e5, tokens_per_request=400, serving_cost_per_million_tokens=0.6, serving_saving_percent=40,
    worth_per_point_month=150, training_cost=4000, months=12,
)  # fmt: skip


made = cache(made_run)


def situation(verdict: str = "close", **changes: Any) -> Situation:
    results = made(verdict)
    assert results.decision is not None
    assert results.evaluation is not None
    assert results.artifact is not None
    size = results.artifact.size_bytes
    sizes = tuple(
        TypeSize(type=name, file_bytes=size + more * MIB, total_bytes=size + (more + 40) * MIB)
        for name, more in (("Q2_K", -1), ("Q5_K_M", 1), ("Q6_K", 2))
    )
    given_ = Situation(
        plan=results.plan, outcome=verdict, decision=results.decision, evaluation=results.evaluation, artifact=results.artifact,
        tried=frozenset({results.artifact.type}), sizes=sizes, budget_bytes=round(1.25 * size),
    )  # fmt: skip
    return replace(given_, **changes)


def told(found: Situation, kind: str) -> list[str]:
    return [f"{one.what} {one.why}" for one in recommendations(found) if one.kind == kind]


def test_what_was_imported_can_only_be_made_anew() -> None:
    found = situation("broken")
    (one,) = recommendations(replace(found, plan=found.plan.model_copy(update={"imported": "0a" * 32})))
    assert "take `imported` out of the plan" in one.what


@pytest.mark.parametrize("verdict", ["pass", "inconclusive"])
def test_nothing_is_recommended_where_nothing_is_short(verdict: str) -> None:
    assert recommendations(situation(verdict)) == ()


def test_the_next_larger_type_that_fits_is_named_and_untried_ones_only() -> None:
    (line,) = told(situation(), "larger type")
    assert "Q5_K_M" in line
    (line,) = told(situation(tried=frozenset({"Q5_K_M"})), "larger type")
    assert "Q6_K" in line


def test_where_none_fits_the_envelope_is_said_and_the_lines_make_room() -> None:
    found = situation()
    narrow = found.plan.model_copy(
        update={"envelope": found.plan.envelope.model_copy(update={"max_artifact_mib": 0.5, "memory_mib": 1.0})}
    )
    missed = tuple(replace(one, misses=(f"{one.type} is too large",)) for one in found.sizes)
    (one,) = (one for one in recommendations(replace(found, plan=narrow, sizes=missed)) if one.kind == "larger type")
    assert "Q5_K_M is too large" in one.why
    lines = yaml.safe_load(one.plan_lines)["envelope"]
    assert lines["types"] == ["Q5_K_M"]
    wanted = next(size for size in missed if size.type == "Q5_K_M")
    assert lines["max_artifact_mib"] * MIB > wanted.file_bytes
    assert lines["memory_mib"] * MIB > wanted.total_bytes


def test_training_asks_for_a_business_case_or_for_a_look() -> None:
    (line,) = told(situation("broken"), "training")
    assert "business case" in line
    assert "engineering manager" in line
    found = situation("broken")
    (line,) = told(replace(found, plan=found.plan.model_copy(update={"business_case": CASE})), "training")
    assert "Leave training a look" in line
    assert "pays for itself" in line
    assert told(replace(found, outcome="rejected"), "training") == []  # a manager just said no


def test_the_plan_lines_are_lines_of_a_plan() -> None:
    for verdict in ("close", "broken"):
        for one in recommendations(situation(verdict)):
            filled = one.plan_lines.replace("...", "1")
            body = yaml.safe_load(filled)
            plan = situation().plan.model_dump(mode="json", by_alias=True)
            for part, values in body.items():
                plan[part] = {**(plan.get(part) or {}), **values}
            Plan.model_validate(plan)


def choice(size_bytes: int, nats: float) -> MixChoice:
    """As much of a choice as a recommendation reads."""
    option = TypeOption.model_construct(kind="Q4_K", stored_bytes=100 * MIB)
    group = GroupOptions.model_construct(group="output", types=(option,))
    return MixChoice.model_construct(
        size_bytes=size_bytes, other_bytes=0, groups=(group,), predicted_nats=nats, mean_kl_nats=nats
    )


def test_the_size_that_mixed_precision_needs_is_the_smallest_that_is_predicted_to_do() -> None:
    found = situation()
    share = share_needed(found.decision)
    assert share is not None
    mix = choice(found.artifact.size_bytes, 0.4)
    law = lambda budget: choice(budget, 0.4 * found.artifact.size_bytes / budget)  # noqa: E731 - divergence halves as size doubles
    (line,) = told(replace(found, mix=mix, solve=law), "mixed precision")
    needed = found.artifact.size_bytes / share
    size = float(line.split("a file of about ")[1].split(" MiB")[0].replace(",", "")) * MIB
    assert needed * 0.99 <= size <= needed * 1.03
    hopeless = lambda budget: choice(budget, 0.4)  # noqa: E731 - bytes win nothing
    assert share == 1.0 or told(replace(found, mix=mix, solve=hopeless), "mixed precision") == []


@settings(deadline=None)
@given(st.floats(0.1, 50), st.floats(0, 30), st.floats(0.5, 40))
def test_the_share_brings_the_upper_bound_to_the_tolerance(drop: float, margin: float, allowed: float) -> None:
    decision = situation().decision
    one = decision.slices[0].model_copy(
        update={"drop": drop, "upper": drop + margin, "max_drop": allowed, "verdict": "close"}
    )
    share = share_needed(decision.model_copy(update={"slices": (one,)}))
    if margin > allowed:
        assert share is None
    elif margin < allowed - 1e-9:
        assert share is not None
        assert share * drop + margin <= allowed * (1 + 1e-9)


def decided(verdict: str, attempt: int, attempts: int) -> Decision:
    return situation().decision.model_copy(update={"verdict": verdict, "attempt": attempt, "attempts": attempts})


def test_which_play_comes_next() -> None:
    plain = situation().plan
    trainable = plain.model_copy(update={"business_case": CASE, "training": Training(file="train.jsonl")})

    def ahead(
        plan: Plan, verdict: str, attempt: int, attempts: int, *, mixed: bool = False, trained: bool = False
    ) -> str | None:
        return play_ahead(plan, decided(verdict, attempt, attempts), kind="Q4_K_M", mixed=mixed, trained=trained)

    assert ahead(plain, "pass", 1, 3) is None
    assert ahead(plain, "inconclusive", 1, 3) is None
    assert ahead(plain, "close", 1, 1) is None
    assert ahead(plain, "close", 1, 2) == "mixed_precision"
    assert ahead(plain, "close", 2, 3, mixed=True) is None
    assert ahead(plain, "broken", 1, 3) is None
    assert ahead(trainable, "broken", 1, 2) == "training"
    assert ahead(trainable, "close", 1, 3) == "mixed_precision"
    assert ahead(trainable, "close", 2, 3, mixed=True) == "training"
    assert ahead(trainable, "close", 2, 2, mixed=True) is None
    assert ahead(trainable, "close", 3, 20, mixed=True, trained=True) is None
    assert ahead(trainable.model_copy(update={"profile": "explore"}), "broken", 1, 3) is None
    assert ahead(trainable.model_copy(update={"training": None}), "broken", 1, 3) is None


def test_check_says_what_the_attempts_leave_room_for() -> None:
    assert "ends the run" in room(1, training=False)
    assert "third" in room(2, training=True)
    assert "after both" in room(3, training=True)


@pytest.mark.parametrize(
    ("kind", "why"),
    [("W4A16", None), ("W4A16_AWQ", None), ("W8A16", None), ("BNB_INT8", "only type"), ("GPTQ_INT4", "only type"), ("W8A8", "goes into"),
     ("FP8_DYNAMIC", "goes into")],
)  # fmt: skip
def test_play_5_follows_where_the_format_can_be_mixed_and_says_why_where_it_can_not(kind: str, why: str | None) -> None:
    found = situation("close")
    runtime = found.plan.envelope.model_copy(update={"runtime": "transformers"})
    plan = found.plan.model_copy(update={"envelope": runtime})
    short = found.artifact.model_copy(update={"type": kind, "format": TYPES[kind].format})
    more = found.decision.model_copy(update={"attempts": 3, "attempt": 1})
    (line,) = told(replace(found, plan=plan, artifact=short), "mixed precision")
    if why is None:
        assert play_ahead(plan, more, kind=kind, mixed=False, trained=False) == "mixed_precision"
        assert "Leave room for mixed precision" in line
    else:
        assert play_ahead(plan, more, kind=kind, mixed=False, trained=False) is None
        assert line.startswith(f"Nothing can be mixed here. {kind}")
        assert why in line
        with pytest.raises(InputError, match=kind):
            ladder(plan, short)


def test_training_follows_where_its_grids_are_known() -> None:
    trainable = situation().plan.model_copy(update={"business_case": CASE, "training": Training(file="train.jsonl")})
    for kind in ("Q4_K_M", "W4A16", "W8A16", "W4A16_AWQ", "W8A8", "FP8_DYNAMIC", "BNB_INT8", "GPTQ_INT4"):
        ahead = play_ahead(trainable, decided("broken", 1, 2), kind=kind, mixed=False, trained=False)
        assert ahead == (None if cannot_train(kind) else "training")
        assert (cannot_train(kind) is None) == (kind in ("Q4_K_M", "W4A16", "W8A16"))
        if why := cannot_train(kind):
            assert "W4A16, W8A16 and GGUF's types" in why
            assert kind in why
