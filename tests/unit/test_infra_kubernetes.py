"""Manifests and chart values without a cluster. Against the charts' own schemas the values were checked by hand, see infra/README.md."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from quantplay import __version__

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "kubernetes"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
WORKERS = {name: f"{name}-worker-values.yaml" for name in ("cpu", "gpu")}
JOBS = ("migrate", "deploy")
ENTRYPOINT = ["/usr/bin/tini", "--", "/opt/quantplay/infra/images/entrypoint.sh"]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def job(name: str) -> dict[str, Any]:
    return read(f"{name}-job.yaml")["spec"]["template"]["spec"]


def test_each_part_starts_as_it_does_in_the_compose_file() -> None:
    server = read("server-values.yaml")["server"]
    assert (server["command"], server["args"]) == (ENTRYPOINT, COMPOSE["prefect"]["command"])
    for name, file in WORKERS.items():
        worker = read(file)["worker"]
        assert (worker["command"], worker["args"]) == (ENTRYPOINT, COMPOSE[f"{name}-worker"]["command"])
        assert worker["config"]["workPool"] == name
    for name in JOBS:
        assert job(name)["containers"][0]["args"] == COMPOSE[name]["command"]


def test_every_image_is_ours_at_this_version() -> None:
    images = [
        read("server-values.yaml")["global"]["prefect"]["image"],
        *(read(file)["worker"]["image"] for file in WORKERS.values()),
    ]
    found = [(image["repository"].rpartition("quantplay/")[2], image["prefectTag"]) for image in images]
    assert found == [("cpu", __version__), ("cpu", __version__), ("gpu", __version__)]
    (kustomized,) = read("kustomization.yaml")["images"]
    assert kustomized["newTag"] == __version__
    assert [job(name)["containers"][0]["image"] for name in JOBS] == [kustomized["name"]] * 2


def test_nothing_runs_as_root_or_writes_to_its_image() -> None:
    values = [read("server-values.yaml")["server"], *(read(file)["worker"] for file in WORKERS.values())]
    pods = [(one["podSecurityContext"], one["containerSecurityContext"]) for one in values]
    pods += [(job(name)["securityContext"], job(name)["containers"][0]["securityContext"]) for name in JOBS]
    for pod, container in pods:
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == pod["fsGroup"] == 10001
        assert container["readOnlyRootFilesystem"] is True
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}


def test_secrets_are_named_never_written() -> None:
    server = read("server-values.yaml")
    assert server["externalDatabase"] == {
        "existingSecret": "prefect-database", "connectionStringSecretKey": "connection-string",
    }  # fmt: skip
    assert server["postgresql"] == {"enabled": False}, "the chart's own PostgreSQL has a password everybody knows"
    assert server["secret"] == {"create": False}
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "password:" not in text
        assert "kind: Secret" not in text
    made = (FOLDER / "README.md").read_text(encoding="utf-8")
    for pod in (
        *(read(file)["worker"]["extraVolumes"] for file in WORKERS.values()),
        *(job(name)["volumes"] for name in JOBS),
    ):
        for secret in (volume["secret"]["secretName"] for volume in pod if "secret" in volume):
            assert f"create secret generic {secret} " in made


def test_the_server_asks_for_a_text_and_knows_the_name_its_clients_use() -> None:
    auth = {"enabled": True, "existingSecret": "prefect-auth"}
    server = read("server-values.yaml")["server"]
    configs = [read(file)["worker"]["selfHostedServerApiConfig"] for file in WORKERS.values()]
    environment = {one["name"]: one for one in job("deploy")["containers"][0]["env"]}
    assert [server["basicAuth"], *(one["basicAuth"] for one in configs)] == [auth] * 3
    key = {"name": "prefect-auth", "key": "auth-string"}
    assert environment["PREFECT_API_AUTH_STRING"]["valueFrom"] == {"secretKeyRef": key}
    assert "create secret generic prefect-auth --from-file=auth-string=" in (FOLDER / "README.md").read_text()
    (hosts,) = (one["value"] for one in server["env"] if one["name"] == "QUANTPLAY_SERVER_HOSTS")
    asked = [*(one["apiUrl"] for one in configs), environment["PREFECT_API_URL"]["value"]]
    assert {url.split("/")[2].split(":")[0] for url in asked} == set(hosts.split(","))


def test_a_gpu_worker_asks_for_one_gpu_on_a_node_that_has_one() -> None:
    worker = read("gpu-worker-values.yaml")["worker"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == worker["resources"]["requests"]["nvidia.com/gpu"] == 1
    assert worker["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in worker["tolerations"]


def test_the_lock_folder_of_the_node_is_given_to_the_workers_user() -> None:
    """A hostPath folder belongs to root, and `fsGroup` does not reach it."""
    worker = read("gpu-worker-values.yaml")["worker"]
    node = {volume["name"] for volume in worker["extraVolumes"] if "hostPath" in volume}
    (init,) = worker["initContainer"]["extraContainers"]
    assert {mount["name"] for mount in init["volumeMounts"]} == node == {"locks"}
    (mount,) = (one for one in worker["extraVolumeMounts"] if one["name"] == "locks")
    user = worker["podSecurityContext"]["runAsUser"]
    assert init["command"] == ["chown", f"{user}:{user}", mount["mountPath"]]
    assert {"name": "QUANTPLAY_DEVICE_LOCKS", "value": mount["mountPath"]} in worker["extraEnvVars"]
    rights = init["securityContext"]
    assert (rights["runAsUser"], rights["runAsNonRoot"]) == (0, False), "the pod forbids root, so this has to say it"
    assert rights["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False


def test_every_mount_has_its_volume() -> None:
    pods = [
        (one["extraVolumes"], one["extraVolumeMounts"]) for one in (read(file)["worker"] for file in WORKERS.values())
    ]
    pods += [(job(name)["volumes"], job(name)["containers"][0]["volumeMounts"]) for name in JOBS]
    for volumes, mounts in pods:
        assert {mount["name"] for mount in mounts} == {volume["name"] for volume in volumes}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_everything_into_the_namespace() -> None:
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    assert sorted((one["kind"], one["metadata"]["name"]) for one in documents) == [
        ("Job", "quantplay-deploy"), ("Job", "quantplay-migrate"), ("Namespace", "quantplay"), ("PersistentVolumeClaim", "quantplay-home"),
    ]  # fmt: skip
    assert {one["metadata"].get("namespace", "quantplay") for one in documents} == {"quantplay"}
    images = {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in documents if one["kind"] == "Job"}
    assert images == {f"registry.example.com/quantplay/cpu:{__version__}"}
