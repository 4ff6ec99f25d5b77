"""docker-compose.yml without a container engine: the Compose specification's own schema, and what we promise of every service.

compose_spec.json is that schema (Apache-2.0, compose-spec/compose-spec), as packed in check-jsonschema 0.39.0. That the start commands
and health checks work is tried by infra/compose/try_commands.py, which needs root.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from quantplay import __version__
from quantplay.store.connect import parse_url

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LIVE = {"gateway", "judge"}
DASHBOARDS = {"reader", "prometheus", "grafana"}
ONCE = {"bucket", "migrate", "deploy", "reader"}
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(:[-?][^}]*)?\}")
PINNED = re.compile(r"[a-z0-9/]+:[\w.-]+@sha256:[0-9a-f]{64}")
OURS = re.compile(r"quantplay/(cpu|gpu):\$\{QUANTPLAY_TAG:-" + re.escape(__version__) + r"\}")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that make-secrets.sh has filled."""
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([ROOT / "infra/compose/make-secrets.sh", folder], check=True, capture_output=True)
    return folder


def test_it_is_valid_by_the_compose_specification() -> None:
    schema = json.loads((Path(__file__).with_name("compose_spec.json")).read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{list(fault.absolute_path)}: {fault.message}" for fault in validator.iter_errors(COMPOSE)] == []


def test_it_runs_what_a_team_shares() -> None:
    assert set(SERVICES) == {"postgres", "s3", "prefect", "cpu-worker", "gpu-worker"} | ONCE | LIVE | DASHBOARDS
    optional = {name: service["profiles"] for name, service in SERVICES.items() if service.get("profiles")}
    apart = {"gpu-worker": "gpu"} | dict.fromkeys(LIVE, "live") | dict.fromkeys(DASHBOARDS, "dashboards")
    assert optional == {name: [profile] for name, profile in apart.items()}
    devices = SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert PINNED.fullmatch(service["image"]) or OURS.fullmatch(service["image"]), service["image"]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert not service.get("privileged")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_checked_or_ends(name: str) -> None:
    service = SERVICES[name]
    if name in ONCE:
        assert "healthcheck" not in service
        assert service["restart"].startswith("on-failure")
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["healthcheck"].keys() == {"test", "interval", "timeout", "retries", "start_period"}
        assert service["restart"] == "unless-stopped"


def test_each_waits_for_what_it_needs_in_the_way_it_can_be_waited_for() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_completed_successfully" if other in ONCE else "service_healthy"}, (
                name,
                other,
            )
            optional = SERVICES[other].get("profiles", service.get("profiles"))
            assert optional == service.get("profiles"), f"{name} waits for {other}, which may not be started at all"
    assert set(closure("gpu-worker")) == set(SERVICES) - {"gpu-worker", "cpu-worker"} - LIVE - DASHBOARDS


def closure(name: str) -> list[str]:
    """Everything `name` waits for, directly or not."""
    found: list[str] = []
    for other in SERVICES[name].get("depends_on", {}):
        found += [other, *closure(other)]
    return found


def test_no_secret_is_written_down_and_every_one_is_declared_and_used() -> None:
    for name, service in SERVICES.items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|SECRET|CREDENTIAL|TOKEN|_URL_FILE", variable):
                assert str(value).startswith("/run/secrets/"), (name, variable)
                assert str(value).removeprefix("/run/secrets/") in service["secrets"], (name, variable)
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", ())}
    used |= {secret for service in SERVICES.values() for secret in service.get("build", {}).get("secrets", ())}
    assert used == set(COMPOSE["secrets"])
    assert re.findall(r"//[^:/@\s]+:[^@\s/]+@", TEXT) == []
    mounted = {path.removeprefix("/run/secrets/") for path in re.findall(r"/run/secrets/\w+", TEXT)}
    assert mounted <= set(COMPOSE["secrets"])


def test_the_prefect_server_asks_for_a_text_that_only_its_clients_have(secrets: Path) -> None:
    user, _, password = (secrets / "prefect_auth").read_text().partition(":")
    assert (user, len(password)) == ("quantplay", 48)
    file = "/run/secrets/prefect_auth"
    assert SERVICES["prefect"]["environment"]["PREFECT_SERVER_API_AUTH_STRING_FILE"] == file
    clients = {name for name, one in SERVICES.items() if "PREFECT_API_URL" in (one.get("environment") or {})}
    asked = {
        name
        for name, one in SERVICES.items()
        if (one.get("environment") or {}).get("PREFECT_API_AUTH_STRING_FILE") == file
    }
    assert clients == asked == {"deploy", "cpu-worker", "gpu-worker"}
    assert {name for name, one in SERVICES.items() if "prefect_auth" in one.get("secrets", ())} == asked | {"prefect"}


def test_the_prefect_server_answers_to_the_name_its_clients_use() -> None:
    (name,) = {one["environment"]["PREFECT_API_URL"].split("/")[2].split(":")[0] for one in SERVICES.values() if "PREFECT_API_URL" in (one.get("environment") or {})}  # fmt: skip
    assert name in SERVICES["prefect"]["environment"]["QUANTPLAY_SERVER_HOSTS"].split(",")


def test_the_secrets_are_made_once_readable_for_containers_and_closed_to_others(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert set(before) == set(COMPOSE["secrets"])
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in secrets.iterdir())
    again = subprocess.run(
        [ROOT / "infra/compose/make-secrets.sh", secrets], check=True, capture_output=True, text=True
    )
    assert "made" not in again.stdout
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


def test_the_secrets_fit_each_other(secrets: Path) -> None:
    text = {path.name: path.read_text() for path in secrets.iterdir()}
    assert parse_url(text["quantplay_database_url"]).password == text["quantplay_db_password"]
    assert f"prefect:{text['prefect_db_password']}@postgres:5432/prefect" in text["prefect_database_url"]
    (identity,) = json.loads(text["s3_identities"])["identities"]
    (pair,) = identity["credentials"]
    assert (
        f"aws_access_key_id = {pair['accessKey']}\naws_secret_access_key = {pair['secretKey']}\n"
        in text["aws_credentials"]
    )
    passwords = {
        text["postgres_password"],
        text["quantplay_db_password"],
        text["prefect_db_password"],
        pair["secretKey"],
    }
    assert len(passwords) == 4
    assert all(len(password) == 48 for password in passwords)


def test_the_example_lists_exactly_the_variables_that_are_read() -> None:
    example = (ROOT / "infra" / "compose" / "env.example").read_text(encoding="utf-8")
    assigned = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", example, flags=re.MULTILINE))
    assert set(assigned) == {name for name, _ in VARIABLE.findall(TEXT)}
    assert set(assigned.values()) == {""}
    required = {name for name, default in VARIABLE.findall(TEXT) if default.startswith(":?")}
    assert required == {"QUANTPLAY_OWNERS"}, "people who may sign have no default"


def test_what_it_mounts_is_there() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert (ROOT / "infra/compose/create-databases.sh").stat().st_mode & 0o100
    assert "./infra/compose/create-databases.sh" in mounted
    assert {source for source in mounted if source[0] not in "./$"} == set(COMPOSE["volumes"])
