"""What an automation does reaches the server: the rule for a lost node would otherwise see the node go, and do nothing."""

from __future__ import annotations

from benchmarks.deployed_platform import DeployedPlatform


def test_an_automation_ends_a_run(platform: DeployedPlatform) -> None:
    from datetime import UTC, datetime, timedelta

    from prefect.events.schemas.automations import AutomationCore
    from prefect.states import Scheduled

    rule = AutomationCore.model_validate(
        {
            "name": "test - end it", "enabled": True,
            "trigger": {
                "type": "event", "posture": "Reactive", "match": {"prefect.resource.id": "prefect.flow-run.*"},
                "for_each": ["prefect.resource.id"], "expect": ["prefect.flow-run.ToBeEnded"], "threshold": 1, "within": 0,
            },
            "actions": [{"type": "change-flow-run-state", "state": "CRASHED", "message": "by the rule"}],
        }
    )  # fmt: skip
    with platform.client() as client:
        automation = client.request("POST", "/automations/", json=rule.model_dump(mode="json")).json()["id"]
        try:
            found = client.read_deployment_by_name("sign-off-reminders/hourly")
            later = datetime.now(UTC) + timedelta(hours=1)
            run = client.create_flow_run_from_deployment(found.id, state=Scheduled(scheduled_time=later))
            client.set_flow_run_state(run.id, Scheduled(name="ToBeEnded", scheduled_time=later), force=True)
            ended = platform.wait(run.id, seconds=30)
            assert ended.state is not None
            assert (ended.state.name, ended.state.message) == ("Crashed", "by the rule")
        finally:
            client.request("DELETE", f"/automations/{automation}")
