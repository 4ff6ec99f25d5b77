"""Plays 5 and 6 on the platform: their jobs are sent, killed and sent again, and what was finished is not done twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from flow_jobs import Jobs, eventually, processes_of
from further_plans import CASE, broken_plan, close_plan, write_training_texts
from signers import made_signer, owners_text

from benchmarks.deployed_platform import DeployedPlatform
from benchmarks.sign_desk import waits_at

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jobs(platform: DeployedPlatform) -> Jobs:
    return Jobs(platform)


def test_a_close_candidate_goes_on_as_jobs_and_a_killed_scan_goes_on_where_it_was(jobs: Jobs) -> None:
    run = jobs.platform.start("quantize/plan", plan=str(close_plan(jobs.platform.playground, "mixed-job", 2)))
    scan = jobs.running(run, "scan")
    journals = jobs.platform.home / "scans"
    eventually(lambda: any(path.stat().st_size for path in journals.rglob("*.jsonl")), "nothing was measured")
    for process in processes_of(scan.id):
        process.kill()
    ended = jobs.wait(run)
    assert (ended.state_name, jobs.show(run)["outcome"]) == ("Locked", "locked"), ended.state
    names = jobs.names(run)
    first = ["baseline-job", "envelope-job", "ptq-job", "evaluate-job"]
    assert names[: len(first)] == first
    further = names[len(first) :]
    assert further == ["scan-job"] * (len(further) - 3) + ["mix-job", "make-job", "evaluate-job"]
    shown = jobs.show(run)
    assert [job["outcome"] for job in shown["jobs"] if job["play"].startswith("scan")].count("lost") == 1
    assert [decision["verdict"] for decision in shown["decisions"]] == ["close", "pass"]


def test_a_signed_business_case_is_trained_for_by_a_job(jobs: Jobs, tmp_path: Path) -> None:
    mary = made_signer(tmp_path, "mary@example.com")
    owners = jobs.platform.home / "owners.yaml"
    before = owners.read_bytes() if owners.exists() else None
    owners.write_text(owners_text((mary, "engineering_manager")))
    try:
        write_training_texts(jobs.platform.playground.folder)
        plan = broken_plan(jobs.platform.playground, "trained-job", CASE)
        run = jobs.platform.start("quantize/plan", plan=str(plan))
        asked = jobs.wait(
            run, until=lambda one: waits_at(one) is not None or (one.state is not None and one.state.is_final())
        )
        assert asked.state is not None
        assert asked.state.is_paused(), asked.state
        shown = jobs.show(run)
        assert shown["waits_at"] == "training"
        done = jobs.platform.quantplay(
            "sign", shown["run"][:8], "--role", "engineering_manager", "--approve", "--key", str(mary.key)
        )
        assert "resumed" in done.stderr, done.stderr
        for process in processes_of(jobs.running(run, "train").id):
            process.kill()
        jobs.wait(run)
        names = jobs.names(run)
        assert names[4:] == ["train-job", "train-job", "make-job", "evaluate-job"]
        after = jobs.show(run)
        assert [job["outcome"] for job in after["jobs"] if job["play"] == "training"] == ["lost", "done"]
        assert len(after["decisions"]) == 2
    finally:
        owners.unlink() if before is None else owners.write_bytes(before)
