"""On the platform: the weekly look leaves a page, a picture and a line in the chain that the next one is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from benchmarks.deployed_platform import DeployedPlatform
from quantplay.adoption import MEASURED, SUBJECT
from quantplay.live.release import release, roll_back
from quantplay.records.traffic import CounterRow, PolicyRevision, ServedArm
from quantplay.settings import read_settings
from quantplay.store.registry import Store, open_store

DEPLOYMENT = "adoption/weekly"
NAME = "adopted"


@pytest.fixture
def store(platform: DeployedPlatform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("QUANTPLAY_HOME", str(platform.home))
    with open_store(read_settings()) as opened:
        yield opened


def test_the_weekly_look_leaves_a_page_and_is_remembered(platform: DeployedPlatform, store: Store) -> None:
    arms = {"full_precision": ServedArm(url="http://h:1/v1", model="f", artifact="a" * 64)}
    arms["quantized"] = ServedArm(url="http://h:2/v1", model="q", artifact="b" * 64)
    policy = PolicyRevision(endpoint=NAME, package=None, salt="s", **arms)
    revision, _ = release(store, policy, weight=0.5, actor="ada", reason="a test")
    minute = int(datetime.now(UTC).timestamp() // 60)
    counted = CounterRow(
        source=str(UUID(int=5)), endpoint=NAME, revision=revision, minute=minute, arm="quantized", name="requests",
        value=1_234_567,
    )  # fmt: skip
    store.write_live([counted])
    try:
        told = measured_once(platform, store)
    finally:  # the monitor of other tests would take it back itself: nobody has a conversation there
        roll_back(store, NAME, actor="ada", reason="the test is over")
    assert told["source"] == "gateway"
    assert told["requests"] >= 1_234_567
    json.dumps(told)
    assert store.verify_events() == ()


def measured_once(platform: DeployedPlatform, store: Store) -> dict[str, Any]:
    run = platform.wait(platform.start(DEPLOYMENT))
    assert run.state is not None
    assert run.state.name == "Measured", run.state.message
    assert "Validated quantized models served 0.0 % of 1,2" in (
        run.state.message or ""
    )  # other tests may have served some
    with platform.client() as client:
        pages = {
            one.key: str(one.data) for one in client.read_artifacts(limit=200) if (one.key or "").startswith("adoption")
        }
    assert set(pages) >= {"adoption", "adoption-volume"}
    assert "quantized, never validated here" in pages["adoption"]
    return store.events(kind=MEASURED, subject=SUBJECT)[-1].body


def test_a_source_that_cant_be_used_fails_with_its_faults(platform: DeployedPlatform, store: Store) -> None:
    before = len(store.events(kind=MEASURED, subject=SUBJECT))
    bad = platform.home / "usage.csv"
    bad.write_text("model,day,requests\nm,never,1\n", encoding="utf-8")
    run = platform.wait(platform.start(DEPLOYMENT, volume=str(bad)))
    assert run.state is not None
    assert run.state.is_failed()
    assert "usage.csv:2" in (run.state.message or "")
    assert len(store.events(kind=MEASURED, subject=SUBJECT)) == before
