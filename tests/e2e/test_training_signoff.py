"""A broken candidate with a business case: the engineering manager decides before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from signers import Signer, made_signer, owners_text

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow
CASE = {
    "requests_per_day": 200000, "tokens_per_request": 400, "serving_cost_per_million_tokens": 0.6,
    "serving_saving_percent": 40, "worth_per_point_month": 150, "training_cost": 4000, "months": 12,
}  # fmt: skip


@pytest.fixture(scope="module")
def mary(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return made_signer(tmp_path_factory.mktemp("mary"), "mary@example.com")


class Broken:
    """Ternary plans of profile internal, which asks for no other signature."""

    def __init__(self, playground: Playground, mary: Signer) -> None:
        self.playground, self.mary = playground, mary
        self.owners = mary.key.parent / "owners.yaml"
        self.owners.write_text(owners_text((mary, "engineering_manager")))

    def call(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        done = self.playground.quantplay(*map(str, arguments), "--json", QUANTPLAY_OWNERS=str(self.owners))
        assert done.stdout, done.stderr
        body = json.loads(done.stdout)
        assert "error" not in body, body
        return done.returncode, body

    def plan(self, name: str, case: dict[str, float] | None, **changes: Any) -> Path:
        plan = self.playground.plan(name, envelope__types=["TQ1_0"], **changes)
        text = (
            plan.read_text().replace("max_drop: 60.0", "max_drop: 2.0").replace("broken_drop: 90.0", "broken_drop: 3.0")
        )
        plan.write_text(text + (yaml.safe_dump({"business_case": case}) if case else ""))
        return plan

    def sign(self, run: str, verdict: str) -> tuple[int, dict[str, Any]]:
        key = self.mary.key
        return self.call("sign", run[:8], "--role", "engineering_manager", f"--{verdict}", "--key", key)


@pytest.fixture(scope="module")
def broken(playground: Playground, mary: Signer) -> Broken:
    return Broken(playground, mary)


def test_the_manager_says_yes_and_the_run_says_what_follows(broken: Broken) -> None:
    code, run = broken.call("run", broken.plan("to-train", CASE))
    assert (code, run["outcome"], run["waits_at"]) == (10, "awaiting_signature", "training"), run
    assert run["to_sign"] == [f"quantplay sign {run['run'][:8]} --role engineering_manager --approve"]
    code, signed = broken.sign(run["run"], "approve")
    assert (code, signed["outcome"], signed["run"]) == (12, "broken", run["run"])
    assert signed["plays"] == run["plays"]  # nothing was measured again
    (signature,) = signed["signoffs"]
    assert f"business case: {signature['business_case']}\n" in signature["text"]
    shown = broken.playground.quantplay("show", run["run"][:8]).stdout
    assert "Training (play 6) is approved by mary@example.com, and not built yet" in " ".join(shown.split())


def test_the_manager_says_no(broken: Broken) -> None:
    _, run = broken.call("run", broken.plan("too-dear", CASE | {"training_cost": 400000}))
    code, signed = broken.sign(run["run"], "reject")
    assert (code, signed["outcome"]) == (16, "rejected")


def test_nobody_is_asked_without_a_business_case_or_in_explore(broken: Broken) -> None:
    for name, case, profile in (("no-case", None, "internal"), ("explored-case", CASE, "explore")):
        code, run = broken.call("run", broken.plan(name, case, profile=profile))
        assert (code, run["outcome"], run["waits_at"]) == (12, "broken", None)
