"""A policy as an HTTPRoute: valid by the API's own schema, and its weights say what the policy says.

httproute_schema.json is that schema (Gateway API, Apache-2.0), as packed in the npm package @kubernetes-models/gateway-api 0.5.1 (MIT).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError, MissingDependency, ServiceUnavailable
from quantplay.live.platform.gateway_api import WEIGHTS, duration, http_route, manifest, weights
from quantplay.live.platform.mapping import Mapping, read_mapping
from quantplay.live.platform.outputs import FolderOutput, KubectlOutput
from quantplay.records.traffic import ServedArm, Timeouts, TrafficPolicy

SCHEMA = json.loads(Path(__file__).with_name("httproute_schema.json").read_text(encoding="utf-8"))
DOCS = Path(__file__).parents[2] / "docs" / "platform-gateway.md"
MAPPING = Mapping.model_validate({
    "gateway": {"name": "inference", "namespace": "gateways", "listener": "https"},
    "namespace": "models",
    "endpoints": {
        "chat": {
            "hostnames": ["chat.example.com"],
            "full_precision": {"service": "chat-f16", "port": 8000},
            "quantized": {"service": "chat-q4", "port": 8001},
        },
    },
})  # fmt: skip


def policy(weight: float = 0.05, **changes: Any) -> TrafficPolicy:
    arms = {
        name: ServedArm(url=f"http://{name}/v1".replace("_", "-"), model="chat", artifact="a" * 64)
        for name in ("full_precision", "quantized")
    }
    return TrafficPolicy(**{
        "endpoint": "chat", "revision": 3, "version": 7, "state": "canary", "weight": weight, "salt": "s", **arms, **changes,
    })  # fmt: skip


def told(document: dict[str, Any]) -> dict[str, int]:
    """Service -> weight."""
    (rule,) = document["spec"]["rules"]
    return {one["name"]: one["weight"] for one in rule["backendRefs"]}


def unknown_fields(value: Any, schema: dict[str, Any], at: str = "") -> list[str]:
    """What the API server would drop, or refuse where it is strict."""
    if isinstance(value, dict) and "properties" in schema:
        found = [f"{at}.{key}" for key in value if key not in schema["properties"]]
        return found + [
            one
            for key, inner in value.items()
            for one in unknown_fields(inner, schema["properties"].get(key, {}), f"{at}.{key}")
        ]
    if isinstance(value, list):
        return [one for inner in value for one in unknown_fields(inner, schema.get("items", {}), at + "[]")]
    return []


@settings(deadline=None, max_examples=60)
@given(
    weight=st.floats(0, 1), seconds=st.floats(0.001, 86_400), state=st.sampled_from(["locked", "canary", "live", "rolled_back", "retired"]),
    kill=st.booleans(), gone=st.booleans(),
)  # fmt: skip
def test_every_policy_is_a_valid_route_with_its_share(
    weight: float, seconds: float, state: str, kill: bool, gone: bool
) -> None:
    changes = {"quantized": None} if gone else {}
    given_policy = policy(weight, state=state, kill=kill, timeouts=Timeouts(total_seconds=seconds), **changes)
    text = manifest(given_policy, MAPPING)
    assert text == manifest(given_policy, MAPPING)
    document = yaml.safe_load(text)
    assert document == http_route(given_policy, MAPPING)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert unknown_fields(document["spec"], SCHEMA["properties"]["spec"]) == []
    counted = told(document)
    assert sum(counted.values()) == WEIGHTS
    share = given_policy.share
    assert counted["chat-q4"] / WEIGHTS == pytest.approx(share, abs=1 / WEIGHTS)
    assert (counted["chat-q4"] == 0) == (share == 0), "nobody where nobody is meant, somebody where somebody is"


def test_the_schema_can_say_no() -> None:
    bad = http_route(policy(), MAPPING)
    bad["spec"]["rules"][0]["backendRefs"][0]["weight"] = WEIGHTS + 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(bad)
    bad["spec"]["rules"][0]["sessionPersistence"] = {"type": "Cookie"}
    assert unknown_fields(bad["spec"], SCHEMA["properties"]["spec"]) == [".rules[].sessionPersistence"]


@pytest.mark.parametrize("changes", [
    {"kill": True}, {"state": "rolled_back"}, {"state": "retired"}, {"state": "locked"}, {"quantized": None}, {"weight": 0},
])  # fmt: skip
def test_whatever_takes_the_model_back_gives_everybody_full_precision(changes: dict[str, Any]) -> None:
    assert told(http_route(policy(**{"weight": 0.5} | changes), MAPPING)) == {"chat-f16": WEIGHTS, "chat-q4": 0}


def test_it_says_of_which_revision_it_is_and_tells_clients_who_answered() -> None:
    document = http_route(policy(), MAPPING)
    assert document["metadata"]["annotations"] == {
        "quantplay-endpoint": "chat", "quantplay-revision": "3", "quantplay-version": "7", "quantplay-state": "canary",
    }  # fmt: skip
    assert document["spec"]["parentRefs"] == [{"name": "inference", "namespace": "gateways", "sectionName": "https"}]
    (rule,) = document["spec"]["rules"]
    headers = [
        {one["name"]: one["value"] for one in ref["filters"][0]["responseHeaderModifier"]["set"]} for ref in rule["backendRefs"]
    ]  # fmt: skip
    assert [one["x-quantplay-assigned"] for one in headers] == ["full_precision", "quantized"]


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_is_never_a_smaller_weight(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert weights(low)["quantized"] <= weights(high)["quantized"]


@settings(deadline=None, max_examples=60)
@given(st.floats(0.001, 86_400))
def test_durations_are_those_that_were_meant(seconds: float) -> None:
    parts = re.findall(r"(\d+)(ms|s)", duration(seconds))
    assert "".join(f"{n}{unit}" for n, unit in parts) == duration(seconds)
    assert sum(int(n) / (1000 if unit == "ms" else 1) for n, unit in parts) == pytest.approx(seconds, abs=0.001)


def test_arms_that_list_different_models_are_refused() -> None:
    other = policy().quantized.model_copy(update={"model": "chat-q4"})  # type: ignore[union-attr]
    with pytest.raises(InputError, match="chat and chat-q4"):
        http_route(policy(quantized=other), MAPPING)
    http_route(policy(quantized=None), MAPPING)  # a way back is never refused


def test_the_mapping_of_the_page_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(
        r"^```yaml\n(gateway:.*?)^```", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    path = tmp_path / "mapping.yaml"
    path.write_text(block, encoding="utf-8")
    assert "support" in read_mapping(path).endpoints


@pytest.mark.parametrize(("change", "word"), [
    ({"namespace": "Models"}, "namespace"),
    ({"settle_seconds": -1}, "settle_seconds"),
    ({"gateway": {}}, "gateway.name"),
    ({"endpoints": {}}, "endpoints"),
    *(({"endpoints": {"chat": MAPPING.endpoints["chat"].body() | bad}}, name) for bad, name in (
        ({"hostnames": ["a..b"]}, "hostnames"), ({"path": "v1"}, "path"), ({"path": "/v1/../x"}, "path"), ({"path": "/v1?x"}, "path"),
    )),
    ({"endpoints": {"chat": {"full_precision": {"service": "a", "port": 1}}}}, "quantized"),
    ({"endpoints": {"chat": {"full_precision": {"service": "a", "port": 1}, "quantized": {"service": "b", "port": 1, "first_token": "rate(x[1m])"}}}}, "first_token"),
    ({"endpoints": {"chat": {"full_precision": {"service": "a", "port": 1}, "quantized": {"service": "b", "port": 1, "counts": {"errors": "x"}}}}}, "counts"),
    ({"endpoints": {name: {"full_precision": {"service": "a", "port": 1}, "quantized": {"service": "b", "port": 1}} for name in ("a_b", "a-b")}}, "one HTTPRoute"),
    ({"endpoints": {name: {"full_precision": {"service": "a", "port": 1}, "quantized": {"service": "b", "port": 1}} for name in ("a", "b")}}, "one host and path"),
])  # fmt: skip
def test_a_faulty_mapping_is_refused_by_its_place(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump(MAPPING.body() | change), encoding="utf-8")
    with pytest.raises(InputError, match=word):
        read_mapping(path)


def test_a_folder_holds_whole_files_and_is_left_alone_where_it_says_so_already(tmp_path: Path) -> None:
    output = FolderOutput(folder=tmp_path / "routes")
    path = tmp_path / "routes" / "chat.yaml"
    assert output.put("chat", manifest(policy(), MAPPING)) == f"written to {path}"
    before = path.stat()
    assert output.put("chat", manifest(policy(), MAPPING)) == f"{path} says so already"
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    output.put("chat", manifest(policy(kill=True), MAPPING))
    assert told(yaml.safe_load(path.read_text(encoding="utf-8")))["chat-q4"] == 0
    assert [one.name for one in path.parent.iterdir()] == ["chat.yaml"]


def program(folder: Path, script: str) -> str:
    path = folder / "kubectl"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_kubectl_gets_the_manifest_and_its_refusal_is_told(tmp_path: Path) -> None:
    text = manifest(policy(), MAPPING)
    works = KubectlOutput(program=program(tmp_path, f'echo "$@"; cat > {tmp_path}/applied'))
    assert works.put("chat", text) == "apply --filename -"
    assert (tmp_path / "applied").read_text(encoding="utf-8") == text
    refuses = KubectlOutput(program=program(tmp_path, 'echo "the server is away" >&2; exit 1'))
    with pytest.raises(ServiceUnavailable, match="the server is away"):
        refuses.put("chat", text)
    with pytest.raises(MissingDependency):
        KubectlOutput(program=str(tmp_path / "nothing")).put("chat", text)
