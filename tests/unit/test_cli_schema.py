"""The JSON schema in the documentation is current, and agrees with the reader."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from plan_samples import PLAN, edited

from quantplay.cli.schema import plan_schema
from quantplay.plan_file import plan_from_text

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(plan_schema())
PLANS = [*sorted((ROOT / "examples").rglob("plan*.yaml")), ROOT / "quantplay" / "cli" / "templates" / "plan.yaml"]


def test_the_file_is_current() -> None:
    assert (ROOT / "docs" / "plan.schema.json").read_text(encoding="utf-8") == plan_schema(), (
        "run `python -m quantplay.cli.schema > docs/plan.schema.json`"
    )


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", PLANS, ids=[path.name + "-" + path.parent.name for path in PLANS])
def test_every_plan_of_the_repository_is_read_and_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    file = plan_from_text(text, path)
    assert file.faults == ()
    jsonschema.validate(yaml.safe_load(text), SCHEMA)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("profile: internal", "profile: x"),
        ("seed: 3", "seed: -1"),
        ("use_case:", "usecase:"),
        ("  batch: 2", "  batch: a"),
        ("[Q4_K_M, Q5_K_M]", "[Q4]"),
    ],
)
def test_it_refuses_what_quantplay_refuses(old: str, new: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(edited(old, new)), SCHEMA)
    jsonschema.validate(yaml.safe_load(PLAN), SCHEMA)


def test_the_template_names_every_key() -> None:
    text = PLANS[-1].read_text(encoding="utf-8")
    keys = {key for part in [SCHEMA, *SCHEMA["$defs"].values()] for key in part["properties"]}
    assert {key for key in keys if f"{key}:" not in text} == set()
