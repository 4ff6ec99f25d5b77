"""On the platform: a drift has its package measured again and is told once; one that can't be measured says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.deployed_platform import MONITOR, DeployedPlatform
from quantplay.live.drift.finding import DriftFinding
from quantplay.live.drift.look import ACTOR, LOOKED
from quantplay.live.notices import DRIFTED
from quantplay.live.release import release
from quantplay.records.traffic import PolicyRevision, ServedArm
from quantplay.settings import read_settings
from quantplay.store.registry import Store, open_store

DEPLOYMENT = "drift/daily"
NAMES = ("drifted-lost", "drifted-unlocked", "not-drifted")


@pytest.fixture
def store(platform: DeployedPlatform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("QUANTPLAY_HOME", str(platform.home))
    with open_store(read_settings()) as opened:
        yield opened


def found_yesterday(store: Store, endpoint: str, *, due: bool, measure: str | None) -> None:
    """What a look at yesterday recorded: the flow goes by it, as after a restart."""
    arms = {"full_precision": ServedArm(url="http://h:1/v1", model="f", artifact="a" * 64)}
    arms["quantized"] = ServedArm(url="http://h:2/v1", model="q", artifact="b" * 64)
    policy = PolicyRevision(endpoint=endpoint, package=None, salt="s", **arms)
    release(store, policy, weight=0.5, actor="ada", reason="a test")
    finding = DriftFinding(
        endpoint=endpoint, day=(datetime.now(UTC).date() - timedelta(days=1)).isoformat(), package=None,
        status="drift" if due else "usual", due=due, measure=measure, conversations=500, looked=500, days=14, readings=(),
        reasons=("Prompts are longer: median 210 words, before 40.",), unlike=(),
    )  # fmt: skip
    store.append_event(ACTOR, LOOKED, endpoint, finding.body())


def test_a_drift_is_handled_and_told_once(platform: DeployedPlatform, store: Store) -> None:
    lost, unlocked, usual = NAMES
    found_yesterday(store, lost, due=True, measure="c" * 64)
    found_yesterday(store, unlocked, due=True, measure=None)
    found_yesterday(store, usual, due=False, measure=None)
    for _ in range(2):
        run = platform.wait(platform.start(DEPLOYMENT))
        assert run.state is not None
        assert run.state.name == "Drift", run.state.message
        assert f"{usual}: usual" in (run.state.message or "")
    handled = {name: [one.body["came_of_it"] for one in store.events(kind=DRIFTED, subject=name)] for name in NAMES}
    assert [len(told) for told in handled.values()] == [1, 1, 0]
    assert "could not be measured again" in handled[lost][0]
    assert "no locked package has this key" in handled[lost][0]
    assert "was not locked in this database" in handled[unlocked][0]
    for _ in range(2):
        platform.wait(platform.start(MONITOR))
    with platform.client() as client:
        pages = {one.key: str(one.data) for one in client.read_artifacts(limit=200) if one.key}
        events = client.request(
            "POST", "/events/filter", json={"filter": {"resource": {"id": [f"quantplay.endpoint.{lost}"]}}, "limit": 50}
        ).json()["events"]
    assert "Prompts are longer" in pages[f"drift-{lost}"]
    told = [one["payload"] for one in events if one["event"] == "quantplay.live.drifted"]
    assert len(told) == 1, json.dumps(events)
    assert told[0]["for"] == ["product_owner"]
    for name in NAMES:
        store.roll_back(name, actor="ada", reason="the test is over")
