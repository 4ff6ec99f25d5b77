"""Audits of what a database holds: a run as its plays leave it, its package, its release; old rows; and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
import store_samples as samples
from audit_records import REFERENCE, Made, made, policy, stored

from quantplay.audit import audit, find
from quantplay.audit.answers import Kind
from quantplay.errors import InputError
from quantplay.live.release import release
from quantplay.outcomes import AUDIT_FOUND
from quantplay.records import CalibrationCheck
from quantplay.store.registry import Store, open_store

CLEAN = made()


def no_calibration(run: Made) -> Made:
    unlike = CalibrationCheck(
        calibration=run.inputs.calibration.content, samples=256, findings=(), figures={"overlap_gate": 3.0}
    )
    return run.but(calibration=unlike)


def test_a_clean_run_its_package_and_its_endpoint_name_nothing_and_say_the_same(store: Store) -> None:
    run, key = stored(store, CLEAN)
    package = store.get_package(key)
    assert package is not None
    served = policy(package=package.manifest)
    release(store, served, weight=0.05, actor="ops", reason="first")
    subjects: tuple[tuple[Kind, str], ...] = (("run", run), ("package", key), ("endpoint", "chat"))
    by_kind = {kind: audit(store, name, kind) for kind, name in subjects}
    assert {kind: one.mistakes for kind, one in by_kind.items()} == dict.fromkeys(by_kind, ())
    classic = [
        [(line.question, line.answer) for line in one.answers if line.mistake is not None] for one in by_kind.values()
    ]
    assert classic[0] == classic[1] == classic[2]
    assert {answer for _, answer in classic[0]} == {"yes"}
    lines = {line.question: line for line in by_kind["endpoint"].answers}
    assert lines["Does traffic rise in steps?"].answer == "yes"
    assert (lines["Has the judge spoken?"].answer, lines["Has the judge spoken?"].fix) == (
        "unknown",
        "quantplay judge chat",
    )
    gone_on = next(line for line in by_kind["run"].answers if line.question == "Did the ml engineer sign the decision?")
    assert gone_on.answer == "waived"  # profile internal
    assert next(line.fix for line in by_kind["run"].answers if line.question.startswith("Is it as the")).endswith(
        "/plan.yaml compares"
    )


def test_evidence_names_records_that_can_be_looked_up(store: Store) -> None:
    _, key = stored(store, CLEAN)
    found = audit(store, key, "package")
    gets = {
        "baseline": store.get_baseline, "recipe": store.get_recipe, "artifact": store.get_artifact, "evaluation": store.get_evaluation,
        "decision": store.get_decision, "plan": store.get_plan, "calibration": store.get_calibration_check,
        "envelope": store.get_envelope, "package": store.get_package, "manifest of the model": store.get_manifest,
    }  # fmt: skip
    shown = {(one.record, one.key) for line in found.answers for one in line.evidence}
    assert {record for record, _ in shown} >= set(gets)
    assert [record for record, key in shown if record in gets and (key is None or gets[record](key) is None)] == []


def test_mistakes_show_in_what_was_stored(store: Store) -> None:
    run, key = stored(store, no_calibration(CLEAN), pinned=False)
    assert [one.name for one in audit(store, run, "run").mistakes] == ["generic_calibration", "no_rollback_plan"]
    package = store.get_package(key)
    assert package is not None
    full = policy().full_precision
    release(store, policy(package=package.manifest, quantized=full), weight=0.05, actor="ops", reason="first")
    named = {one.name for one in audit(store, "chat", "endpoint").mistakes}
    assert {"no_task_evaluation", "no_rollback_plan"} <= named
    assert full.artifact == REFERENCE


def test_packages_and_runs_of_earlier_versions_leave_questions_open(store: Store) -> None:
    plan = store.put_plan(samples.plan())
    run = store.start_run(plan=plan, profile="internal")
    store.put_package(samples.digest("old"), samples.package().model_copy(update={"run": str(run)}))
    store.finish_run(run, outcome="locked", exit_code=0, package=samples.digest("old"))
    for kind, name in (("run", str(run)), ("package", samples.digest("old"))):
        found = audit(store, name, kind)  # type: ignore[arg-type]
        assert found.mistakes == ()
        assert {line.answer for line in found.answers if line.mistake} == {"unknown"}


def test_a_run_still_under_way_is_not_blamed_for_what_comes_later(store: Store) -> None:
    run, _ = stored(store, CLEAN, locked=False)
    found = audit(store, run, "run")
    assert found.mistakes == ()
    assert {line.mistake: line.answer for line in found.answers if line.mistake}["no_rollback_plan"] == "unknown"


def test_the_subject_is_found_by_id_key_manifest_or_name(store: Store) -> None:
    run, key = stored(store, CLEAN)
    package = store.get_package(key)
    assert package is not None
    release(store, policy(package=package.manifest, endpoint="abc"), weight=0.05, actor="ops", reason="first")
    assert find(store, run) == find(store, run.upper()) == find(store, run[:13]) == ("run", run)
    assert find(store, run.replace("-", "")[:10]) == ("run", run)
    assert find(store, key[:10]) == find(store, package.manifest[:10]) == ("package", key)
    assert find(store, f"desk-{key[:12]}") == find(store, f"/packages/desk-{key[:12]}/") == ("package", key)
    assert find(store, "abc") == ("endpoint", "abc")
    for wanted, said in (("zz", "no run, package or endpoint"), ("", "nothing to audit"), (f"{key[:10]}0z", "no run")):
        with pytest.raises(InputError, match=said):
            find(store, wanted)
    plan = store.put_plan(CLEAN.plan)
    for last in (1, 2):
        store.start_run(plan=plan, profile="internal", run=UUID(f"abc00000-0000-4000-8000-00000000000{last}"))
    with pytest.raises(InputError, match=r"run abc00000.*, run abc00000"):
        find(store, "abc0")
    assert find(store, "abc") == ("endpoint", "abc")  # a whole name comes first
    for kind in ("run", "package", "endpoint"):
        with pytest.raises(InputError, match="there is no such"):
            audit(store, "0" * 64, kind)  # type: ignore[arg-type]


def quantplay(*arguments: str, database: str, home: Path) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QUANTPLAY_", "PREFECT_"))}
    here = {**inherited, "QUANTPLAY_HOME": str(home), "QUANTPLAY_DATABASE_URL": database, "COLUMNS": "80"}
    command = [sys.executable, "-m", "quantplay.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=here, timeout=240, check=False)


def test_the_command_shows_every_section_and_its_exit_code_tells(new_database, make_settings, tmp_path: Path) -> None:
    database = new_database()
    with open_store(make_settings(database)) as store:
        good, _ = stored(store, CLEAN)
        bad, _ = stored(store, no_calibration(CLEAN).but(plan=CLEAN.plan.model_copy(update={"seed": 8})))
    ended = quantplay("audit", good, database=database, home=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for text in ("Before shipping", "Classic mistakes", "None of the seven mistakes shows", "ada@example.com"):
        assert text in ended.stdout
    ended = quantplay("audit", bad, "--json", database=database, home=tmp_path)
    assert ended.returncode == AUDIT_FOUND, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["open"], told["kind"], told["subject"]) == (["generic_calibration"], "run", bad)
    (way_back,) = [one for one in told["answers"] if one["mistake"] == "no_rollback_plan"]
    assert (way_back["answer"], "QUANTPLAY_ARTIFACTS_URL" in way_back["why"]) == (
        "unknown",
        True,
    )  # it is another store
    ended = quantplay("audit", bad, "--backward", database=database, home=tmp_path)
    assert (ended.returncode, "1. Was it calibrated on what it is asked? no" in ended.stdout) == (AUDIT_FOUND, True)
    ended = quantplay("audit", "nothing-here", database=database, home=tmp_path)
    assert (ended.returncode, "no run, package or endpoint" in ended.stderr) == (2, True)
