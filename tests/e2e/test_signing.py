"""Production runs from the decision to the signed package, by people with real SSH keys."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from signers import Team, made_team, signed_by_hand

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return made_team(tmp_path_factory.mktemp("team"))


class Office:
    """The playground with an owners file, and its people signing."""

    def __init__(self, playground: Playground, team: Team) -> None:
        self.playground, self.team = playground, team

    def call(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self.playground.quantplay(*map(str, arguments), QUANTPLAY_OWNERS=str(self.team.owners))

    def json(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        done = self.call(*arguments, "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def plan(self, name: str, **changes: Any) -> Path:
        return self.playground.plan(name, profile="production", envelope__target_chip="this machine", **changes)

    def sign(self, run: str, role: str, verdict: str = "approve", *more: object) -> tuple[int, dict[str, Any]]:
        key = self.team.signer(role).key  # type: ignore[arg-type]
        return self.json("sign", run[:8], "--role", role, f"--{verdict}", "--key", key, *more)

    def events(self, run: str) -> list[str]:
        code = (
            "import sys; from quantplay.settings import settings; from quantplay.store.registry import open_store\n"
            "store = open_store(settings()); print(*(e.kind for e in store.events(subject=sys.argv[1]))); print(store.verify_events())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, run], capture_output=True, text=True, env=self.playground.environment(), check=True
        )  # fmt: skip
        kinds, problems = done.stdout.splitlines()
        assert problems == "()"
        return kinds.split()


@pytest.fixture(scope="module")
def office(playground: Playground, team: Team) -> Office:
    return Office(playground, team)


@pytest.fixture(scope="module")
def waiting(office: Office) -> dict[str, Any]:
    """A run that passed its gate."""
    code, run = office.json("run", office.plan("to-sign"))
    assert (code, run["outcome"], run["waits_at"]) == (10, "awaiting_signature", "gate"), run
    return run


def test_it_names_the_command_for_each_missing_signature(office: Office, waiting: dict[str, Any]) -> None:
    short = waiting["run"][:8]
    commands = [f"quantplay sign {short} --role {role} --approve" for role in ("ml_engineer", "product_owner")]
    assert waiting["to_sign"] == commands
    shown = office.call("show", short)
    assert [line.strip() for line in shown.stdout.splitlines() if line.strip().startswith("quantplay sign")] == commands
    assert waiting["package"] is None
    assert (office.playground.home / "reports" / waiting["run"] / "report.html").is_file()


def test_the_next_run_is_the_same_run_and_measures_nothing(office: Office, waiting: dict[str, Any]) -> None:
    code, again = office.json("run", office.playground.folder / "to-sign.yaml")
    assert (code, again["run"]) == (10, waiting["run"])
    assert again["plays"] == waiting["plays"]


def test_what_may_not_be_signed_is_refused_with_its_reason(
    office: Office, waiting: dict[str, Any], tmp_path: Path
) -> None:
    run = waiting["run"][:8]
    wrong_role = office.call("sign", run, "--role", "product_owner", "--approve", "--key", office.team.ada.key)
    assert (wrong_role.returncode, "is not a role of ada@example.com" in wrong_role.stderr) == (2, True)
    key = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    stranger = office.call("sign", run, "--role", "product_owner", "--approve", "--key", key)
    assert "belongs to nobody in the owners file" in " ".join(stranger.stderr.split())
    plan = office.playground.folder / "to-sign.yaml"
    before = plan.read_text()
    plan.write_text(before.replace("max_drop: 60.0", "max_drop: 61.0"))
    try:
        changed = office.call("sign", run, "--role", "ml_engineer", "--approve", "--key", office.team.ada.key)
        assert "the plan's gate was changed since this run decided" in " ".join(changed.stderr.split())
    finally:
        plan.write_text(before)
    assert office.events(waiting["run"]).count("signoff.recorded") == 0


@pytest.fixture(scope="module")
def locked(office: Office, waiting: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Signed: here, by somebody elsewhere, and under the package."""
    run = waiting["run"]
    code, first = office.sign(run, "ml_engineer", "approve", "--comment", "measured twice")
    assert (code, first["waits_at"], len(first["to_sign"])) == (10, "gate", 1)
    text = tmp_path_factory.mktemp("elsewhere") / "request.txt"
    assert office.call("sign", run, "--role", "product_owner", "--approve", "--request", text).returncode == 0
    signature = signed_by_hand(text, office.team.grace.key)
    code, second = office.json("sign", run, "--text", text, "--signature", signature)
    assert (code, second["run"], second["waits_at"]) == (10, run, "lock")  # the signature itself went on to the package
    unsigned = office.call("verify", second["package"]["path"])
    assert unsigned.returncode == 2
    assert "the package is not signed" in unsigned.stdout
    again = office.call("sign", run, "--text", text, "--signature", signature)
    assert "this text has been used before" in again.stderr
    code, last = office.sign(run, "product_owner")
    assert (code, last["outcome"], last["run"]) == (0, "locked", run)
    assert last["package"] == second["package"]  # the signature changed nothing that was signed
    return last


def test_the_signed_package_verifies_and_says_what_that_proves(office: Office, locked: dict[str, Any]) -> None:
    for path in (locked["package"]["path"], locked["package"]["archive"]):
        own = office.call("verify", path, "--manifest", locked["package"]["manifest"])
        assert own.returncode == 0, own.stdout
        assert "consistency, not identity" in " ".join(own.stdout.split())
        known = office.call("verify", path, "--owners", office.team.owners)
        assert known.returncode == 0, known.stdout
        assert "gives to ada@example.com, Grace Hopper: identity" in " ".join(known.stdout.split())


def test_a_locked_decision_stays_locked(office: Office, locked: dict[str, Any]) -> None:
    done = office.call("run", office.playground.folder / "to-sign.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"package: {locked['package']['path']}"
    late = office.call("sign", locked["run"], "--role", "product_owner", "--reject", "--key", office.team.grace.key)
    assert "does not wait for a signature" in late.stderr


def test_every_step_is_an_event_and_no_key_is_in_prefect(office: Office, locked: dict[str, Any]) -> None:
    kinds = office.events(locked["run"])
    assert kinds.count("signoff.recorded") == 3
    assert [kind for kind in kinds if kind in ("run.opened", "run.awaiting")] == [
        "run.opened",
        "run.awaiting",
        "run.awaiting",
    ]
    secrets = ["".join(signer.key.read_text().splitlines()[2:4]) for signer in (office.team.ada, office.team.grace)]
    lines = [line for secret in secrets for line in (secret[:60], secret[70:130])]
    for path in (office.playground.home / "prefect").rglob("*"):
        if path.is_file():
            found = path.read_bytes()
            assert not any(line.encode() in found for line in lines), path


def test_after_a_rejection_a_new_run_starts_and_the_rejection_stays_visible(
    office: Office, locked: dict[str, Any]
) -> None:
    plan = office.plan("rejected", gate__expected_flip_rate=0.06)
    _, run = office.json("run", plan)
    code, rejected = office.sign(run["run"], "product_owner", "rework", "--comment", "edge cases first")
    assert (code, rejected["outcome"], rejected["run"]) == (16, "rejected", run["run"])
    assert rejected["package"] is None
    code, again = office.json("run", plan)
    assert code == 10
    assert again["run"] != run["run"]
    assert [(one["verdict"], one["comment"]) for one in again["signoffs_of_other_runs"]] == [
        ("rework", "edge cases first")
    ]
    shown = office.call("show", again["run"])
    assert "edge cases first" in shown.stdout


def test_two_sign_at_once_and_a_signature_without_its_resume_is_made_good(
    office: Office, locked: dict[str, Any]
) -> None:
    plan = office.plan("at-once", gate__expected_flip_rate=0.07)
    run = office.json("run", plan)[1]["run"]
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda role: office.sign(run, role), ("ml_engineer", "product_owner")))
    assert [code for code, _ in ends] == [10, 10]
    _, now = office.json("show", run)
    assert (now["waits_at"], len(now["signoffs"])) == ("lock", 2)
    # Killed between the signature and the run that it resumes: recorded, and nothing else.
    code = (
        "import sys; from pathlib import Path; from quantplay.cli.pilot import sign_as\n"
        "sign_as('product_owner', sys.argv[1], Path(sys.argv[2]))"
    )
    environment = office.playground.environment(QUANTPLAY_OWNERS=str(office.team.owners))
    subprocess.run(
        [sys.executable, "-c", code, run, str(office.team.grace.key)], env=environment, check=True, capture_output=True
    )
    _, now = office.json("show", run)
    assert (now["outcome"], now["to_sign"]) == ("awaiting_signature", [])
    code_, done = office.json("run", plan)
    assert (code_, done["outcome"], done["run"]) == (0, "locked", run)


def test_the_pilot_signs_with_throwaway_keys_and_says_so(
    playground: Playground, tmp_path: Path, locked: dict[str, Any]
) -> None:
    """The command itself, over the small sets."""
    folder = tmp_path / "examples" / "pilot"
    folder.mkdir(parents=True)
    for data in playground.folder.glob("*.jsonl"):
        shutil.copy(data, folder)
    plan = playground.plan(
        "pilot-small", profile="production", envelope__target_chip="this machine", gate__expected_flip_rate=0.08
    )
    plan.rename(folder / "plan-pass.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "quantplay.cli", "pilot"], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env=playground.environment(PYTHONPATH=str(Path(__file__).parents[2])), cwd=tmp_path, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "throwaway" in done.stderr
    assert "prove nothing about any person" in " ".join(done.stderr.split())
    package = done.stdout.splitlines()[-1].removeprefix("package: ")
    keys = playground.home / "pilot-keys"
    assert keys.stat().st_mode & 0o777 == 0o700
    assert (keys / "ml_engineer").stat().st_mode & 0o777 == 0o600
    verified = playground.quantplay("verify", package, "--owners", str(keys / "owners.yaml"))
    assert verified.returncode == 0, verified.stdout
    assert "throwaway" in (Path(package) / "signatures" / "1-gate-ml_engineer.txt").read_text()
