"""On the platform: the flow that runs every minute takes a bad model back, tells Prefect once, and leaves pages that people read."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from benchmarks.deployed_platform import MONITOR, DeployedPlatform
from quantplay.live.release import release
from quantplay.live.tick import look
from quantplay.records.traffic import CounterRow, PolicyRevision, ServedArm
from quantplay.settings import read_settings
from quantplay.store.registry import Store, open_store

NAME = "support_bot"
PAGE = "live-support-bot-"  # an underscore can't be in a key: some digits keep it apart from support-bot


@pytest.fixture
def store(platform: DeployedPlatform, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QUANTPLAY_HOME", str(platform.home))
    with open_store(read_settings()) as opened:
        yield opened


def count(store: Store, revision: int, *, conversations: int, errors: tuple[int, int]) -> None:
    """What gateways counted: as many conversations on each arm, errors of the quantized model and of full precision."""
    rows = [
        CounterRow(source=str(UUID(int=3)), endpoint=NAME, revision=revision, minute=0, arm=arm, name=name, value=value)
        for arm, failed in zip(("quantized", "full_precision"), errors, strict=True)
        for name, value in (("conversations", conversations), ("error", failed))
    ]
    store.write_live(rows)


def test_a_model_that_fails_is_taken_back_and_prefect_is_told_once(platform: DeployedPlatform, store: Store) -> None:
    told = PolicyRevision(
        endpoint=NAME, package=None, salt="s",
        full_precision=ServedArm(url="http://127.0.0.1:1/v1", model="f", artifact="a" * 64),
        quantized=ServedArm(url="http://127.0.0.1:2/v1", model="q", artifact="b" * 64),
    )  # fmt: skip
    revision, _ = release(store, told, weight=0.5, actor="ada", reason="a test")
    count(store, revision, conversations=200, errors=(2, 2))
    first = platform.wait(platform.start(MONITOR))
    assert first.state is not None
    assert first.state.name == "Watched"
    assert f"{NAME}: continue" in (first.state.message or "")  # other tests' endpoints may be there too
    count(store, revision, conversations=1000, errors=(500, 10))
    second = platform.wait(platform.start(MONITOR))
    assert second.state is not None
    assert second.state.name == "RolledBack", second.state.message
    assert store.traffic_policies(NAME)[0].state == "rolled_back"
    assert look(store, NAME) is None

    pages = {one.key: one.data for one in latest_artifacts(platform)}
    assert "✕ rolled back" in pages["live"]
    (page,) = (text for key, text in pages.items() if key.startswith(PAGE) and not key.endswith("evidence"))
    assert "Errors: 500 of 1,000" in page
    assert "a test" in page
    third = platform.wait(platform.start(MONITOR))
    assert third.state is not None
    assert f"{NAME}: nobody" in (third.state.message or "")
    assert sorted(events_of(platform, 2)) == ["quantplay.live.released", "quantplay.live.rolled_back"]


def latest_artifacts(platform: DeployedPlatform) -> list:
    with platform.client() as client:
        found = [one for one in client.read_artifacts(limit=200) if one.key and one.key.startswith("live")]
    return sorted(found, key=lambda one: one.created)


def events_of(platform: DeployedPlatform, at_least: int, seconds: float = 30) -> list[str]:
    """Names of the events about the endpoint, once there are enough; Prefect writes them a moment later."""
    body = {"filter": {"resource": {"id": [f"quantplay.endpoint.{NAME}"]}}, "limit": 50}
    deadline = time.monotonic() + seconds
    while True:
        with platform.client() as client:
            found = [one["event"] for one in client.request("POST", "/events/filter", json=body).json()["events"]]
        if len(found) >= at_least or time.monotonic() > deadline:
            return found
        time.sleep(0.5)
