"""A broken candidate with a business case: the engineering manager decides, then it is trained and judged once more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from signers import Signer, made_signer, owners_text

from benchmarks.playground import PILOT, Playground
from quantplay.calibration.overlap import near_copies_in_texts, prompts_in_texts
from quantplay.evalset import read_items

pytestmark = pytest.mark.slow
CASE = {
    "requests_per_day": 200000, "tokens_per_request": 400, "serving_cost_per_million_tokens": 0.6,
    "serving_saving_percent": 40, "worth_per_point_month": 150, "training_cost": 4000, "months": 12,
}  # fmt: skip
TRAINING = {
    "file": "training.jsonl", "steps": 8, "learning_rate": 0.0005, "rows": 8, "row_tokens": 256, "checkpoint_every": 4,
    "patience": 4,
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
        """Ternary weights answer next to nothing right, which is broken even with tolerances that fit 20 items."""
        if case:
            changes |= {"business_case": case, "training": TRAINING}
        plan = self.playground.plan(name, envelope__types=["TQ1_0"], gate__attempts=2, **changes)
        plan.write_text(
            plan.read_text()
            .replace("max_drop: 60.0", "max_drop: 45.0")
            .replace("broken_drop: 90.0", "broken_drop: 45.5")
        )
        return plan

    def sign(self, run: str, verdict: str) -> tuple[int, dict[str, Any]]:
        key = self.mary.key
        return self.call("sign", run[:8], "--role", "engineering_manager", f"--{verdict}", "--key", key)


@pytest.fixture(scope="module")
def broken(playground: Playground, mary: Signer) -> Broken:
    write_training_texts(playground.folder)
    return Broken(playground, mary)


def write_training_texts(folder: Path) -> None:
    """Some of the pilot's. What repeats in a few questions alone does not count as their common form, so a few texts look like copies."""
    texts = [json.loads(line) for line in (PILOT / "training" / "train.jsonl").read_text().splitlines()[:800]]
    for name in ("gate", "dev"):
        asked = [(item.id, item.document, item.prompt) for item in read_items(folder / f"{name}.jsonl")]
        prompts = [(key, prompt) for key, _, prompt in asked]
        while True:
            pairs = [(text["id"], text["text"]) for text in texts]
            leaks = {text for _, text in (*near_copies_in_texts(asked, pairs), *prompts_in_texts(prompts, pairs))}
            if not leaks:
                break
            texts = [text for text in texts if text["id"] not in leaks]
    (folder / "training.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))


@pytest.fixture(scope="module")
def trained(broken: Broken) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run that asked, and the same run after the signature."""
    code, run = broken.call("run", broken.plan("to-train", CASE))
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
    _, run = broken.call("run", broken.plan("too-dear", CASE | {"training_cost": 400000}))
    code, signed = broken.sign(run["run"], "reject")
    assert (code, signed["outcome"]) == (16, "rejected")


def test_nobody_is_asked_without_a_business_case_or_in_explore(broken: Broken) -> None:
    for name, case, profile in (("no-case", None, "internal"), ("explored-case", CASE, "explore")):
        code, run = broken.call("run", broken.plan(name, case, profile=profile))
        assert (code, run["outcome"], run["waits_at"]) == (12, "broken", None)
