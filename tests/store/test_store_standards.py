"""Standards and the product database: a run is opened with what its plan departs from, and a raised standard names whom it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import store_samples as samples
from factories import made_fingerprint, made_package

from quantplay.digest import digest_of
from quantplay.errors import PlanError
from quantplay.handoff.contents import PackageContents
from quantplay.plan_file import plan_from_text
from quantplay.records import MadeOf, PackageRef
from quantplay.settings import Settings
from quantplay.standards import read_standards
from quantplay.store.registry import Store, open_store
from tasks import evaluate, reuse, runs
from tasks.evaluate import standards_of
from tasks.runs import OPENED, open_run

ROOT = Path(__file__).parents[2]
RULES = """\
schema: 1
version: {version}
title: House rules
use_cases:
  default: {{title: Everything, max_drop: {max_drop}, minimum_items: {items}}}
calibration: {{minimum_samples: 1, maximum_samples: 512}}
"""


def rules(folder: Path, **given: object) -> Path:
    path = folder / "standards.yaml"
    path.write_text(RULES.format(**{"version": 1, "max_drop": 100, "items": 1, **given}))
    return path


@pytest.fixture
def locked(
    new_database: Callable[..., str], make_settings: Callable[..., Settings], tmp_path: Path
) -> tuple[str, PackageContents]:
    """A database with two locked models: one that notes what it was made of, one of an earlier version."""
    url = new_database()
    contents = made_package(tmp_path / "package")
    with open_store(make_settings(url)) as store:
        plan = store.put_plan(contents.plan)
        inputs = tuple(store.put_manifest(one) for one in contents.inputs.manifests)
        made = MadeOf(
            plan=plan, baseline=contents.baseline_key, artifact=digest_of("artifact"), evaluation=digest_of("evaluation"),
            decision=digest_of("decision"), inputs=inputs,
        )  # fmt: skip
        store.put_baseline(made.baseline, contents.baseline)
        store.put_recipe(contents.recipe.digest(), contents.recipe)
        store.put_artifact(made.artifact, contents.artifact)
        store.put_evaluation(made.evaluation, contents.evaluation)
        store.put_decision(made.decision, contents.decision)
        for name, of in (("whole", made), ("early", None)):
            run = store.start_run(plan=plan, profile="internal")
            package = PackageRef(
                run=str(run), path="/p", manifest=digest_of(name), archive=None, size_bytes=5, made_of=of
            )
            store.put_package(digest_of(name), package)
            store.finish_run(run, outcome="locked", exit_code=0, package=digest_of(name))
    return url, contents


def falls_short(url: str, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantplay.cli", "standards", "falls-short", *map(str, arguments)]
    here = {**os.environ, "QUANTPLAY_DATABASE_URL": url, "QUANTPLAY_HOME": str(home), "COLUMNS": "220"}
    return subprocess.run(command, capture_output=True, text=True, env=here, timeout=120, check=False)


def test_a_raised_standard_names_the_models_it_leaves_behind(
    locked: tuple[str, PackageContents], tmp_path: Path
) -> None:
    url, contents = locked
    score = max(
        (one for one in contents.decision.slices if one.metric == "score" and one.slice != "hardest"),
        key=lambda one: one.upper,
    )
    lax = falls_short(url, tmp_path, rules(tmp_path), "--json")
    assert lax.returncode == 0, lax.stderr
    assert json.loads(lax.stdout)["falls_short"] == 0
    raised = rules(tmp_path, version=2, max_drop=score.upper - 0.5, items=score.items + 11)
    done = falls_short(url, tmp_path, raised, "--json")
    assert done.returncode == 22, done.stderr
    body = json.loads(done.stdout)
    assert (body["version"], body["falls_short"]) == (2, 1)
    assert body["standards"] == read_standards(raised).digest()
    models = {one["package"]: one for one in body["models"]}
    whole, early = models[digest_of("whole")], models[digest_of("early")]
    assert early["falls_short"] == []
    assert "run its plan again" in early["unknown"]
    gaps = [one["what"] for one in whole["falls_short"]]
    assert f"slice {score.slice} lost up to 0.5 points more than the standards allow" in gaps
    assert f"slice {score.slice} has 11 items fewer than use case default asks for" in gaps
    assert all(one["fix"] for one in whole["falls_short"])
    shown = falls_short(url, tmp_path, raised)
    assert shown.returncode == 22
    assert "1 of 2 locked models fall short of House rules, version 2" in shown.stdout
    assert falls_short(url, tmp_path).returncode == 2  # no file is named


@pytest.fixture
def bench(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the tasks find on this machine: the real database, and settings of the test's own."""
    made = SimpleNamespace(
        store=store, settings=SimpleNamespace(standards=None, pool="gpu"), fingerprint=made_fingerprint()
    )
    for module in (runs, reuse, evaluate):
        monkeypatch.setattr(module, "workbench", lambda: made)
    return made


def written(folder: Path, more: str = "") -> Path:
    """A plan beside the files it names."""
    contents = made_package(folder)
    path = folder / "plan.yaml"
    path.write_text(contents.plan_text + more)
    assert plan_from_text(path.read_text(), path).plan is not None
    return path


def test_a_run_is_refused_before_it_is_opened_and_with_a_reason_notes_it(
    bench: SimpleNamespace, tmp_path: Path
) -> None:
    path = written(tmp_path / "a")
    bench.settings.standards = rules(tmp_path, items=10_000, version=5)
    with pytest.raises(PlanError, match=r"standards\.items"):
        open_run.fn(str(path))
    assert bench.store.list_runs() == ()
    reason = "deviations:\n  - rule: standards.items\n    reason: there are no more tickets\n"
    run = open_run.fn(str(written(tmp_path / "b", reason)))
    check = standards_of(run)
    assert check is not None
    assert (check.version, check.standards) == (5, read_standards(bench.settings.standards).digest())
    assert {(one.rule, one.reason) for one in check.departures} == {("standards.items", "there are no more tickets")}
    bench.settings.standards = rules(tmp_path, items=20_000, version=6)
    assert standards_of(run) == check  # what was frozen when it was opened


def test_without_standards_nothing_is_noted(bench: SimpleNamespace, tmp_path: Path) -> None:
    run = open_run.fn(str(written(tmp_path / "a")))
    assert standards_of(run) is None
    [event] = bench.store.events(kind=OPENED, subject=run.run)
    assert "standards" not in event.body


def test_a_decision_with_standards_is_stored_and_read(store: Store) -> None:
    from quantplay.records import Departure, StandardsCheck

    one = Departure(
        rule="standards.items",
        place=("gate", "slices", 0),
        what="w",
        standard="s",
        found="f",
        fix="x",
        reason="because",
    )
    check = StandardsCheck(standards=samples.digest("s"), version=3, title="t", use_case="default", departures=(one,))
    decision = samples.decision().model_copy(update={"standards": check})
    store.put_decision(samples.digest("key"), decision)
    assert store.get_decision(samples.digest("key")) == decision
