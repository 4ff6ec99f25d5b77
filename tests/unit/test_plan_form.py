"""The form in the browser means a plan: the same digest as the file with the same values, and faults named by their field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_samples import PLAN

from flows.form_to_plan import (
    PLACES,
    SKILL_PLACES,
    escaped,
    filled,
    form_of,
    plan_of,
    plan_text,
    require_good,
    unescaped,
)
from flows.plan_form import SERVING_TYPES, HowToTrain, Mixing, More, PlanForm, Skill, Target, Training
from quantplay.errors import PlanError
from quantplay.plan import WAIVABLE, Plan
from quantplay.plan_file import plan_from_text, read_plan
from quantplay.records import RollbackRules

PILOT = Path(__file__).parents[2] / "examples" / "pilot"
LEFT_OUT = {
    "schema", "evaluation.allow_code", "envelope.runtime", "envelope.device", "envelope.cache_type", "imported", "updates", "training.micro_rows", "training.gradient_checkpointing",
    "business_case.quantizing_cost", *(f"rollback_rules.{name}" for name in RollbackRules.model_fields),
}  # fmt: skip
"""What only a plan file can say: one choice alone, code, which somebody reviews there, what `quantplay import` and `--update-of` lead to, what only a tight memory asks for,
and the rules of play 8."""

LEAST: dict[str, Any] = {
    "name": "support-4bit",
    "use_case": "Answers questions about orders.",
    "data": {"folder": "/data/support"},
    "skills": [{"name": "orders", "title": "Knows an order"}],
    "people": {"ml_engineer": "ada@example.com", "product_owner": "grace@example.com"},
}

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda one: one == one.strip() != ""
)
odd = text | st.sampled_from(
    ["no", "null", "~", "1e3", ".inf", "0x1", "- a", "a: b", "# x", "y", "@x", "'", '"', "2026-01-01", "é\u2028"]
)
above0 = st.floats(0.001, 1e6)
points = st.floats(0.001, 100)


def one_of(model: type, **fields: Any) -> st.SearchStrategy[Any]:
    """Any subset of the fields; the others keep their defaults."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: model(**chosen))


skills = st.lists(
    st.builds(Skill, name=odd, title=odd, max_drop_points=points, broken_drop_points=points, fragile=st.booleans()),
    min_size=1, max_size=3, unique_by=lambda skill: skill.name,
)  # fmt: skip
waivers = st.lists(
    st.fixed_dictionaries({"rule": st.sampled_from(sorted(WAIVABLE)), "reason": st.just("Because of this and that.")}),
    max_size=2,
)
forms = st.fixed_dictionaries({
    "name": st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True), "use_case": odd,
    "profile": st.sampled_from(["production", "internal", "explore"]),
    "data": st.fixed_dictionaries(
        {"folder": st.just("/data"), "model": odd},
        optional={"gate_file": odd, "model_commit": st.none() | st.just("") | st.from_regex(r"[0-9a-f]{40}", fullmatch=True)},
    ),
    "skills": skills,
    "people": st.fixed_dictionaries({"ml_engineer": odd, "product_owner": odd}, optional={"on_call": st.none() | odd}),
    "target": one_of(
        Target, bottleneck=st.sampled_from(["memory", "latency", "throughput", "cost"]), target_chip=st.none() | odd,
        context_tokens=st.integers(16, 4096), serving_types=st.lists(st.sampled_from(SERVING_TYPES), max_size=3),
        max_artifact_mib=st.none() | above0, max_slowdown=st.none() | above0,
    ),
    "training": st.just(Training()) | st.builds(
        Training, training_cost=above0, requests_per_day=above0, tokens_per_request=above0, months=st.floats(0.1, 120),
        serving_cost_per_million_tokens=above0, serving_saving_percent=st.none() | st.floats(0, 100),
    ),
    "how_to_train": st.just(HowToTrain()) | st.builds(
        HowToTrain, file=odd, steps=st.none() | st.integers(1, 5000), learning_rate=st.none() | st.floats(1e-6, 1),
        row_tokens=st.none() | st.integers(16, 4096),
    ),
    "mixing": one_of(
        Mixing, max_artifact_mib=st.none() | above0, growth_percent=st.none() | st.floats(0, 400),
        types=st.lists(st.sampled_from(["Q4_K", "Q6_K", "IQ2_S"]), max_size=3), sequences=st.none() | st.integers(4, 4096),
    ),
    "more": one_of(
        More, trade_off=st.just("") | odd, use_case_class=st.none() | st.just("") | st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True), waivers=waivers, task_files=st.lists(odd, max_size=2), attempts=st.integers(1, 20),
        answer_ends=st.lists(odd | st.sampled_from(["\\n", "\\n\\n", "\\\\n", "\\t", "\\"]), max_size=3),
        hardest_share=st.floats(0.01, 0.5), baseline_days=st.none() | st.integers(1, 3650), seed=st.integers(0, 2**32 - 1),
    ),
})  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(fields=forms)
def test_a_form_means_one_plan_and_a_plan_one_form(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    form = filled(**fields)
    plan = plan_of(form)
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(plan_text(form), encoding="utf-8")
    assert read_plan(path).digest() == plan.digest()
    assert plan_of(form_of(plan, "/data")).digest() == plan.digest()


@pytest.mark.parametrize("name", ["plan-pass", "plan-close", "plan-broken"])
def test_the_pilot_from_the_form_is_the_pilot_from_the_file(name: str) -> None:
    plan = read_plan(PILOT / f"{name}.yaml")
    assert plan_of(form_of(plan, str(PILOT))).digest() == plan.digest()


def test_the_fewest_fields_make_a_plan() -> None:
    plan = plan_of(filled(**LEAST))
    assert plan.profile == "internal"
    assert plan.decoding.stop == ("\n",)
    assert plan.gate.slices["orders"].max_drop < plan.gate.slices["orders"].broken_drop
    assert required(PlanForm.model_json_schema()) == {
        "name", "use_case", "data.folder", "skills.name", "skills.title", "people.ml_engineer", "people.product_owner",
    }  # fmt: skip


def required(schema: dict[str, Any]) -> set[str]:
    """What a person has to fill in."""
    found = set()
    for name in schema["required"]:
        field = schema["properties"][name]
        group = schema["$defs"].get(str(field.get("items", field).get("$ref")).rpartition("/")[2])
        found |= {f"{name}.{inner}" for inner in group["required"]} if group else {name}
    return found


def leaves(schema: dict[str, Any], node: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Dotted place -> what the schema says about a value there."""
    kinds = [kind for kind in node.get("anyOf", ()) if kind.get("type") != "null"]
    node = {**node, **(kinds[0] if len(kinds) == 1 else {})}
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if "properties" not in node:
        return {prefix: node}
    found: dict[str, dict[str, Any]] = {}
    for name, inner in node["properties"].items():
        found |= leaves(schema, inner, f"{prefix}.{name}".lstrip("."))
    return found


LIMITS = ("type", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def test_the_form_has_every_field_of_the_plan_with_the_same_limits() -> None:
    plan_schema, form_schema = Plan.model_json_schema(), PlanForm.model_json_schema()
    plan, form = leaves(plan_schema, plan_schema), leaves(form_schema, form_schema)
    skills_ = {"evaluation.slices", "gate.slices"}
    assert set(PLACES.values()) == set(plan) - LEFT_OUT - skills_
    assert set(PLACES) == set(form) - {"data.folder", "skills"}
    for field, place in PLACES.items():
        assert {key: form[field].get(key) for key in LIMITS} == {key: plan[place].get(key) for key in LIMITS}, field
        assert form[field]["title"], field
        assert form[field]["description"], field
    inside = {key for part in ("SliceInfo", "Tolerance") for key in plan_schema["$defs"][part]["properties"]}
    assert {key for _, key in SKILL_PLACES.values()} == inside


def test_the_order_holds_where_the_database_sorts_keys_by_length() -> None:
    schema = PlanForm.model_json_schema()
    for group in (schema, *schema["$defs"].values()):
        by_length = dict(sorted(group["properties"].items(), key=lambda entry: (len(entry[0]), entry[0])))
        shown = sorted(by_length, key=lambda name: by_length[name]["position"])
        assert shown == list(group["properties"])
        assert not any("anyOf" in field for field in by_length.values()), (
            "a choice between kinds is no field to fill in"
        )


def test_every_fault_at_once_by_the_name_of_its_field() -> None:
    wrong = LEAST | {
        "name": "Not A Name",
        "data": {"folder": "relative"},
        "skills": [{"name": "orders", "title": "x"}, {"name": "", "max_drop_points": 0}],
        "target": {"context_tokens": 3, "serving_types": ["Q4_K_M", "Q9"]},
        "more": {"seed": -1, "nonsense": 1},
    }
    with pytest.raises(PlanError) as caught:
        filled(**wrong)
    assert {fault.where for fault in caught.value.faults} == {
        "name", "data.folder", "skills, entry 2, name", "skills, entry 2, title", "skills, entry 2, max_drop_points",
        "target.context_tokens", "target.serving_types, entry 2", "more.seed", "more.nonsense",
    }  # fmt: skip


def test_two_skills_of_one_name_are_not_merged() -> None:
    with pytest.raises(PlanError, match="same name") as caught:
        plan_of(filled(**LEAST | {"skills": LEAST["skills"] * 2}))
    assert [fault.where for fault in caught.value.faults] == ["skills"]


def test_what_the_checks_find_is_told_in_the_words_of_the_form(tmp_path: Path) -> None:
    form = filled(
        **LEAST | {
            "skills": [
                {"name": "orders", "title": "x", "max_drop_points": 5, "broken_drop_points": 4},
                {"name": "hardest", "title": "y"},
            ],
            "target": {"serving_types": ["Q4_K_M", "Q4_K_M"]},
            "training": {"training_cost": 100},
            "more": {"hardest_broken_drop_points": 2},
        }
    )  # fmt: skip
    path = tmp_path / "plan.yaml"
    path.write_text(plan_text(form), encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        require_good(form, path, measured_here=True)
    told = caught.value.faults
    where = {fault.where for fault in told}
    assert where >= {
        "skills, entry 1, broken_drop_points", "skills, entry 2, name", "target.serving_types, entry 2",
        "more.hardest_broken_drop_points", "data.model", "training",
    }  # fmt: skip
    assert not any(re.search(r"plan\.yaml:\d", one) for one in where)


@given(st.text(max_size=20))
def test_the_end_of_a_line_can_be_written_into_a_field(anything: str) -> None:
    assert unescaped(escaped(anything)) == anything
    assert "\n" not in escaped(anything)


def test_the_sample_plan_round_trips() -> None:
    plan = plan_from_text(PLAN, Path("plan.yaml")).plan
    assert plan is not None
    assert plan_of(form_of(plan, "/data")).digest() == plan.digest()
