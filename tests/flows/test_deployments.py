"""deployments/prefect.yaml against the flows themselves: what is deployed exists, explains itself, and misses nothing."""

from __future__ import annotations

import importlib
import json
import pkgutil
from typing import Any

import pytest

import flows
import quantplay
from flows.deployed import AUTOMATIONS_FILE, PREFECT_FILE, TAG, declared, full_names
from flows.pools import QUEUES, ROOM, pools

ENTRIES = declared()
NAMES = [entry["entrypoint"].rsplit(".", 1)[1] for entry in ENTRIES]


def flow_of(entry: dict[str, Any]) -> Any:
    from prefect.flows import load_flow_from_entrypoint

    return load_flow_from_entrypoint(entry["entrypoint"], use_placeholder_flow=False)


def schema_of(entry: dict[str, Any]) -> Any:
    from prefect.utilities.callables import parameter_schema

    return parameter_schema(flow_of(entry))


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_an_entry_point_is_dotted_and_loads(entry: dict[str, Any]) -> None:
    assert ":" not in entry["entrypoint"]
    assert "/" not in entry["entrypoint"]
    flow = flow_of(entry)
    assert flow.description
    assert not flow.isasync


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_every_parameter_explains_itself(entry: dict[str, Any]) -> None:
    for name, shown in schema_of(entry).properties.items():
        assert shown.get("description", "").strip(), f"{name} has no description"


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_every_parameter_is_required_or_has_a_value_that_the_form_can_show(entry: dict[str, Any]) -> None:
    schema = schema_of(entry)
    for name, shown in schema.properties.items():
        assert ("default" in shown) != (name in (schema.required or ())), name
        json.dumps(shown.get("default"))


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_an_entry_says_what_people_and_the_platform_need(entry: dict[str, Any]) -> None:
    assert len(entry["description"]) > 20
    assert TAG in entry["tags"]
    assert entry["version"] == quantplay.__version__
    pool = entry["work_pool"]
    assert pool["name"] in {pool.name for pool in pools(1)}
    assert pool["work_queue_name"] in QUEUES
    sends = pool.get("job_variables", {}).get("env", {}).get("QUANTPLAY_POOL")
    assert sends == ("gpu" if pool["name"] == "cpu" else None)


def test_no_queue_of_orchestrations_can_starve_another() -> None:
    (cpu,) = (pool for pool in pools(1) if pool.name == "cpu")
    assert set(cpu.room) == set(QUEUES)
    assert min(cpu.room.values()) > 0
    assert sum(cpu.room.values()) <= cpu.limit


def test_what_people_start_is_limited_by_its_queue_and_the_clock_finds_room() -> None:
    limits = {
        name: entry.get("concurrency_limit", {}).get("limit")
        for name, entry in zip(NAMES, ENTRIES, strict=True)
        if entry["work_pool"]["name"] == "cpu"
    }
    assert limits == {
        "quantize": None,
        "quantize_form": None,
        "revalidate": 1,
        "sign_off_reminders": 1,
        "adoption": 1,
        "monitor": 1,
        "drift": 1,
    }
    by_clock = [entry for entry in ENTRIES if entry.get("schedules")]
    assert {entry["work_pool"]["work_queue_name"] for entry in by_clock} == {"revalidation"}
    assert ROOM["revalidation"] == sum(entry["concurrency_limit"]["limit"] for entry in by_clock)


def test_jobs_are_limited_by_their_pool_alone() -> None:
    assert not [name for name, entry in zip(NAMES, ENTRIES, strict=True) if entry["work_pool"]["name"] == "gpu" and "concurrency_limit" in entry]  # fmt: skip


def test_every_flow_is_deployed() -> None:
    from prefect import Flow

    found = set()
    for module in pkgutil.iter_modules(flows.__path__, "flows."):
        loaded = importlib.import_module(module.name)
        found |= {f"{module.name}.{name}" for name, one in vars(loaded).items() if isinstance(one, Flow) and one.fn.__module__ == module.name}  # fmt: skip
    assert found == {entry["entrypoint"] for entry in ENTRIES}


def test_names_are_unique() -> None:
    names = [f"{flow_of(entry).name}/{entry['name']}" for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert full_names() == names, "what `quantplay up` misses is found without loading the flows"


def test_the_server_knows_the_automations_that_are_declared() -> None:
    import yaml
    from prefect.events.schemas.automations import AutomationCore

    for entry in yaml.safe_load(AUTOMATIONS_FILE.read_text(encoding="utf-8"))["automations"]:
        wanted = AutomationCore.model_validate(entry)
        assert wanted.description
        known = wanted.model_dump(mode="json")["trigger"]
        assert set(entry["trigger"]) <= set(known), "a key that the schema drops would be silently without effect"


def test_the_heartbeat_rule_waits_for_three_heartbeats_and_less_than_two_minutes() -> None:
    import yaml

    from flows.worker import ENVIRONMENT

    (rule,) = (
        entry["trigger"]
        for entry in yaml.safe_load(AUTOMATIONS_FILE.read_text(encoding="utf-8"))["automations"]
        if "prefect.flow-run.heartbeat" in entry["trigger"]["after"]
    )
    assert 3 * int(ENVIRONMENT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) <= rule["within"] < 120
    assert {"prefect.flow-run.Pending", "prefect.flow-run.Running"} <= set(rule["after"])


def test_the_file_can_be_deployed_by_hand() -> None:
    """`prefect deploy` reads the file with Prefect's own model; what it would drop or template away is not in it."""
    from prefect.cli.deploy._models import PrefectYamlModel

    read = PrefectYamlModel.model_validate({"deployments": ENTRIES})
    assert [one.entrypoint for one in read.deployments] == [entry["entrypoint"] for entry in ENTRIES]
    assert "{{" not in PREFECT_FILE.read_text(encoding="utf-8")


def test_a_wheel_carries_what_up_deploys() -> None:
    import tomllib

    project = tomllib.loads((PREFECT_FILE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]
    assert "deployments" in project["packages"]["find"]["include"]
    assert set(project["package-data"]["deployments"]) == {PREFECT_FILE.name, AUTOMATIONS_FILE.name}
