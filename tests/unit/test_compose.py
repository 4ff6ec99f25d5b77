"""docker-compose.yml, read as YAML: what can be said of it without a Docker engine. Its schema was checked by hand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:[-?][^}]*)?\}")


def test_it_runs_postgresql_16_and_the_prefect_of_pyproject() -> None:
    assert set(SERVICES) == {"postgres", "prefect"}
    assert SERVICES["postgres"]["image"].split(":")[1] == "16"
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    version = next(line.removeprefix("prefect==") for line in dependencies if line.startswith("prefect=="))
    assert SERVICES["prefect"]["image"] == f"prefecthq/prefect:{version}-python3.11"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_checked_and_answers_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["healthcheck"].keys() == {"test", "interval", "timeout", "retries", "start_period"}
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_prefect_waits_for_a_healthy_database() -> None:
    assert SERVICES["prefect"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_secrets_come_from_the_environment_and_have_no_default() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name:
                assert VARIABLE.fullmatch(value), name
    variables = dict(VARIABLE.findall(TEXT))
    secrets = {name: default for name, default in variables.items() if "PASSWORD" in name}
    assert secrets
    assert all(default.startswith(":?") for default in secrets.values())
    assert re.findall(r"//[^:/@\s]+:(?!\$)[^@\s]+@", TEXT) == []


def test_the_example_lists_exactly_the_variables_that_are_read() -> None:
    example = (ROOT / "infra" / "compose" / "env.example").read_text(encoding="utf-8")
    assigned = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, flags=re.MULTILINE))
    assert set(assigned) == {name for name, _ in VARIABLE.findall(TEXT)}
    assert set(assigned.values()) == {""}


def test_what_it_mounts_is_there_and_can_be_executed() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    files = [ROOT / source for source in mounted if source.startswith("./")]
    assert files
    assert all(file.is_file() and file.stat().st_mode & 0o100 for file in files)
    assert {source for source in mounted if not source.startswith("./")} == set(COMPOSE["volumes"])
