"""A broken candidate with a business case: the engineering manager decides, then it is trained and judged once more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from further_plans import CASE, broken_plan, write_training_texts
from signers import Signer, made_signer, owners_text

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow


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

    def sign(self, run: str, verdict: str) -> tuple[int, dict[str, Any]]:
        key = self.mary.key
        return self.call("sign", run[:8], "--role", "engineering_manager", f"--{verdict}", "--key", key)


@pytest.fixture(scope="module")
def broken(playground: Playground, mary: Signer) -> Broken:
    write_training_texts(playground.folder)
    return Broken(playground, mary)


@pytest.fixture(scope="module")
def trained(broken: Broken) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run that asked, and the same run after the signature."""
    code, run = broken.call("run", broken_plan(broken.playground, "to-train", CASE))
    assert (code, run["outcome"], run["waits_at"]) == (10, "awaiting_signature", "training"), run
    assert run["to_sign"] == [f"quantplay sign {run['run'][:8]} --role engineering_manager --approve"]
    _, signed = broken.sign(run["run"], "approve")
    assert signed["run"] == run["run"]
    return run, signed


def test_the_manager_says_yes_and_the_run_goes_on_into_training(trained: tuple[dict[str, Any], dict[str, Any]]) -> None:
    run, signed = trained
    before = [play["key"] for play in run["plays"]]
    assert [play["key"] for play in signed["plays"]][: len(before)] == before  # nothing was measured again
    assert [play["play"] for play in signed["plays"]][len(before) :][:4] == ["training", "ptq", "evaluate", "gate"]
    assert len(signed["decisions"]) == 2  # the trained one has a verdict of its own, whatever so few steps win
    short, made = signed["artifacts"]
    assert made["tensors"] == short["tensors"]  # the very types that were short
    assert signed["left_at"] in ("training", "lock")
    (signature,) = signed["signoffs"]
    assert f"business case: {signature['business_case']}\n" in signature["text"]


def test_the_manager_says_no(broken: Broken) -> None:
    _, run = broken.call("run", broken_plan(broken.playground, "too-dear", CASE | {"training_cost": 400000}))
    code, signed = broken.sign(run["run"], "reject")
    assert (code, signed["outcome"]) == (16, "rejected")


def test_nobody_is_asked_without_a_business_case_or_in_explore(broken: Broken) -> None:
    for name, case, profile in (("no-case", None, "internal"), ("explored-case", CASE, "explore")):
        code, run = broken.call("run", broken_plan(broken.playground, name, case, profile=profile))
        assert (code, run["outcome"], run["waits_at"]) == (12, "broken", None)
