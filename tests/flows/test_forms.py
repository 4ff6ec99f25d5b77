"""The forms people fill in: the server refuses what a plan would, and both interfaces show every field in our order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import needs_browser, opened_browser, screenshot

from benchmarks.deployed_platform import DeployedPlatform
from flows.plan_form import PlanForm

LEAST: dict[str, Any] = {
    "name": "support-4bit",
    "use_case": "Answers questions about orders.",
    "data": {"folder": "/data/support"},
    "skills": [{"name": "orders", "title": "Knows an order"}],
    "people": {"ml_engineer": "ada@example.com", "product_owner": "grace@example.com"},
}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("quantize/plan", {}, "'plan' is a required property"),
    ("quantize/plan", {"plan": ""}, "'plan'"),
    ("quantize/plan", {"plan": "plan"}, "'plan'"),
    ("quantize/plan", {"plan": "/data/weights.safetensors"}, "'plan'"),
    ("quantize/plan", {"plan": "https://example.com/plan.yaml"}, "'plan'"),
    ("quantize/plan", {"plan": "/data/plan.yaml", "run": "the last one"}, "'run'"),
    ("quantize-form/form", {}, "required property"),
    ("quantize-form/form", LEAST | {"name": "Not A Name"}, "'name'"),
    ("quantize-form/form", LEAST | {"use_case": ""}, "'use_case'"),
    ("quantize-form/form", LEAST | {"profile": "prod"}, "'profile'"),
    ("quantize-form/form", LEAST | {"skills": []}, "'skills'"),
    ("quantize-form/form", LEAST | {"skills": [{"name": "orders"}]}, "'title' is a required property"),
    ("quantize-form/form", LEAST | {"skills": [LEAST["skills"][0] | {"max_drop_points": 101}]}, "'skills[0].max_drop_points'"),
    ("quantize-form/form", LEAST | {"data": {"folder": "support"}}, "'data.folder'"),
    ("quantize-form/form", LEAST | {"target": {"bottleneck": "speed"}}, "'target.bottleneck'"),
    ("quantize-form/form", LEAST | {"target": {"serving_types": ["Q9"]}}, "'target.serving_types[0]'"),
    ("quantize-form/form", LEAST | {"target": {"memory_mib": "much"}}, "'target.memory_mib'"),
    ("quantize-form/form", LEAST | {"training": {"currency": "Euro"}}, "'training.currency'"),
    ("quantize-form/form", LEAST | {"more": {"seed": -1}}, "'more.seed'"),
    ("quantize-form/form", LEAST | {"more": {"sead": 1}}, "'sead' was unexpected"),
]  # fmt: skip


def test_the_server_refuses_what_a_plan_would(platform: DeployedPlatform) -> None:
    import httpx

    with platform.client() as client:
        ids = {name: client.read_deployment_by_name(name).id for name in {name for name, _, _ in REFUSED}}
    for name, parameters, says in REFUSED:
        answer = httpx.post(
            f"{platform.api_url}/deployments/{ids[name]}/create_flow_run", json={"parameters": parameters}, timeout=30
        )
        assert answer.status_code == 409, (name, parameters)
        assert says in answer.json()["detail"], (name, parameters)


def titles() -> Iterator[str]:
    """Every title that is shown before anything is added, from top to bottom."""
    schema = PlanForm.model_json_schema()
    for field in schema["properties"].values():
        yield field["title"]
        group = schema["$defs"].get(str(field.get("$ref")).rpartition("/")[2])
        yield from (inner["title"] for inner in group["properties"].values()) if group else ()


@pytest.mark.slow
@needs_browser
def test_both_interfaces_show_every_field_in_our_order(platform: DeployedPlatform, tmp_path: Path) -> None:
    with platform.client() as client:
        form = client.read_deployment_by_name("quantize-form/form").id
    with opened_browser() as page:
        for interface in ("/v2", ""):
            page.goto(f"{platform.page}{interface}/deployments/deployment/{form}/run")
            page.get_by_text("Where model and data lie").first.wait_for()
            page.get_by_text("Of everything random").first.wait_for()
            shown, at = page.locator("body").inner_text(), 0
            for title in titles():
                at = shown.find(f"\n{title}", at) + 1
                assert at > 0, f"{title} is not in its place in {interface or 'the old interface'}"
            assert "allOf" not in shown
            screenshot(page, f"form-of-{interface.strip('/') or 'v1'}", tmp_path, whole=False)
