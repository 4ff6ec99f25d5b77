"""A deployed run at its signatures: it suspends and frees its slot, asks until it is answered well, and goes on by itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from signers import Team, made_team

from benchmarks.deployed_platform import DeployedPlatform
from benchmarks.sign_desk import ShownForm, give, shown_form, signed_with, waits_at

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

pytestmark = pytest.mark.slow
GRACE = "approve as product_owner by Grace Hopper"


def ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


class Desk:
    """A run on the platform and the people who sign it."""

    def __init__(self, platform: DeployedPlatform, team: Team) -> None:
        self.platform, self.team = platform, team

    def start(self, name: str, **changes: Any) -> tuple[UUID, str]:
        """(flow run, run) of a new production plan, once it waits."""
        plan = self.platform.playground.plan(
            name, profile="production", envelope__target_chip="this machine", **changes
        )
        flow_run = self.platform.start("quantize/plan", plan=str(plan))
        text = self.until(flow_run, "gate-1").text(GRACE)
        return flow_run, text.split("\nrun: ")[1].split("\n")[0]

    def until(self, flow_run: UUID, key: str) -> ShownForm:
        found = self.platform.wait(flow_run, lambda run: waits_at(run) == key or ended(run), seconds=480)
        assert waits_at(found) == key, found.state
        with self.platform.client() as client:
            return shown_form(client, flow_run)

    def show(self, run: str) -> dict[str, Any]:
        done = self.platform.quantplay("show", run, "--json")
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)

    def sign(self, run: str, role: str, verdict: str = "approve") -> subprocess.CompletedProcess[str]:
        key = self.team.signer(role).key  # type: ignore[arg-type]
        return self.platform.quantplay("sign", run[:8], "--role", role, f"--{verdict}", "--key", str(key))

    def give(self, flow_run: UUID, **run_input: str) -> tuple[str, str]:
        with self.platform.client() as client:
            return give(client, flow_run, run_input)

    def later(self, days: float) -> str:
        """What the hourly flow does, as if it ran so many days later."""
        code = (
            "import sys; from datetime import UTC, datetime, timedelta; from flows.reminders import look_after\n"
            "from tasks.workbench import workbench; now = datetime.now(UTC) + timedelta(days=float(sys.argv[1]))\n"
            "print(*(line for one in workbench().store.all_waiting() for line in look_after(one, now)), sep='\\n')"
        )
        env = self.platform.env | {"PREFECT_API_URL": self.platform.api_url}
        done = subprocess.run([sys.executable, "-c", code, str(days)], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def desk(platform: DeployedPlatform, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    team = made_team(tmp_path_factory.mktemp("team"))
    shutil.copy(team.owners, platform.home / "owners.yaml")
    return Desk(platform, team)


def taken_slots(platform: DeployedPlatform) -> int:
    """Runs that count against the limits of pools and workers."""
    states = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
    with platform.client() as client:
        return client.request("POST", "/flow_runs/count", json={"flow_runs": states}).json()


def processes_of(flow_run: UUID) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(flow_run).encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_it_suspends_asks_again_after_a_bad_signature_and_is_locked_by_people(desk: Desk) -> None:
    flow_run, run = desk.start("people")
    form = desk.until(flow_run, "gate-1")
    plays = desk.show(run)["plays"]
    deadline = time.monotonic() + 120
    while (processes_of(flow_run) or taken_slots(desk.platform)) and time.monotonic() < deadline:
        time.sleep(0.5)  # a re-validation of the platform's packages may be at work beside it
    assert (processes_of(flow_run), taken_slots(desk.platform)) == ([], 0)  # it holds nothing while it waits
    # What a product owner without quantplay sees.
    assert form.choices[1:3] == ["approve as ml_engineer by ada@example.com", GRACE]
    assert "Never a private key" in form.fields["signature"]["description"]
    assert f"quantplay sign {run[:8]} --role product_owner --approve" in form.page
    assert "| Follows every detail of an instruction | ✓ pass |" in form.page
    assert f"run: {run}" in form.text(GRACE)
    # A private key is refused by the server, and stays nowhere.
    secret = desk.team.grace.key.read_text()
    status, reason = desk.give(flow_run, statement=GRACE, signature=secret)
    assert (status, "signature" in reason) == ("REJECT", True)
    # A signature that does not fit is no failure: the next form says what was wrong. One-line inputs lose line feeds.
    stranger = signed_with(desk.team.ada.key, form.text(GRACE))
    assert desk.give(flow_run, statement=GRACE, signature=stranger)[0] == "ACCEPT"
    again = desk.until(flow_run, "gate-2")
    assert "does not verify with a key of Grace Hopper" in again.page
    assert again.text(GRACE) == form.text(GRACE)  # who signed it already need not do so again
    good = " ".join(signed_with(desk.team.grace.key, form.text(GRACE)).split("\n"))
    assert desk.give(flow_run, statement=GRACE, signature=good)[0] == "ACCEPT"  # at once: its old process may still end
    third = desk.until(flow_run, "gate-3")
    assert "approve by Grace Hopper as product\\_owner" in third.page
    assert GRACE not in third.choices
    # The last signature of the stage resumes the run, the one before does not.
    first = desk.sign(run, "product_owner")
    assert (first.returncode, "resumed" in first.stderr) == (10, False), first.stderr
    last = desk.sign(run, "ml_engineer")
    assert "The suspended run was resumed" in last.stderr, last.stderr
    desk.until(flow_run, "lock-4")
    assert desk.show(run)["plays"][: len(plays)] == plays  # nothing was measured again
    assert "resumed" in desk.sign(run, "product_owner").stderr
    done = desk.platform.wait(flow_run)
    assert (done.state_name, desk.show(run)["outcome"]) == ("Locked", "locked"), done.state
    lines = [line for line in secret.splitlines()[2:4] if len(line) > 60]
    for path in (desk.platform.home / "prefect").rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert not any(line.encode() in held for line in lines), path


def test_an_unanswered_request_reminds_expires_is_asked_again_and_refused_in_the_form(desk: Desk) -> None:
    flow_run, run = desk.start("unanswered", gate__expected_flip_rate=0.07)
    assert desk.later(0.5) == "\n"
    assert f"run {run[:8]} waits for ml_engineer and product_owner" in desk.later(1.1)
    assert desk.show(run)["waits"]["reminders"] == 1
    assert "expired" in desk.later(15)
    ended = desk.platform.wait(flow_run)
    assert (ended.state_name, ended.state_type.value if ended.state_type else None) == ("Expired", "CANCELLED")
    assert desk.show(run)["outcome"] == "awaiting_signature"
    asked = desk.sign(run, "ml_engineer")
    assert "a new one asks again" in asked.stderr, asked.stderr
    now = desk.platform.wait(next_flow_run(desk, flow_run), lambda one: waits_at(one) == "gate-1")
    assert now.id != flow_run
    assert desk.show(run)["waits"]["expired_at"] is None
    label = "rework as product_owner by Grace Hopper"
    text = desk.until(now.id, "gate-1").text(label)
    assert desk.give(now.id, statement=label, signature=signed_with(desk.team.grace.key, text))[0] == "ACCEPT"
    assert desk.platform.wait(now.id).state_name == "Rejected"
    shown = desk.show(run)  # the same run, by another flow run
    assert (shown["outcome"], [one["verdict"] for one in shown["signoffs"]]) == ("rejected", ["approve", "rework"])


def next_flow_run(desk: Desk, before: UUID) -> UUID:
    """The newest flow run of the deployment after this one."""
    with desk.platform.client() as client:
        found = client.request(
            "POST",
            "/flow_runs/filter",
            json={"sort": "EXPECTED_START_TIME_DESC", "limit": 1, "flows": {"name": {"any_": ["quantize"]}}},
        ).json()
    assert found[0]["id"] != str(before)
    return UUID(found[0]["id"])
