"""`quantplay up` makes what the platform team sees and runs, once, and a run started from its form goes through."""

from __future__ import annotations

import json

from benchmarks.deployed_platform import DeployedPlatform


def test_a_second_up_changes_nothing(platform: DeployedPlatform) -> None:
    before = states(platform)
    again = platform.quantplay("up", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["changed"] == []
    assert states(platform) == before


def states(platform: DeployedPlatform) -> list[tuple]:
    """Everything on the server with the moment of its last change."""
    with platform.client() as client:
        return [
            *((pool.id, pool.concurrency_limit) for pool in client.read_work_pools()),
            *((one.id, one.updated, one.version) for one in client.read_deployments()),
            *((one.id, one.enabled) for one in client.read_automations()),
        ]


def test_pools_have_their_queues_in_order(platform: DeployedPlatform) -> None:
    up = json.loads(platform.quantplay("up", "--json").stdout)["platform"]
    assert [pool["name"] for pool in up["pools"]] == ["cpu", "gpu"]
    for pool in up["pools"]:
        assert list(pool["queues"].items()) == [("interactive", 1), ("revalidation", 2), ("batch", 3)]
        assert len(pool["workers"]) == 1
    assert up["pools"][1]["limit"] == 1
