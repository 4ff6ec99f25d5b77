"""Heavy plays as jobs of workers: done once, whatever is killed; errors and cancellations cross between run and job."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flow_jobs import Jobs, eventually, heavy_children, processes_of

from benchmarks.deployed_platform import DeployedPlatform
from quantplay.digest import is_digest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jobs(platform: DeployedPlatform) -> Jobs:
    return Jobs(platform)


@contextmanager
def other_worker(jobs: Jobs) -> Iterator[None]:
    """In place of the platform's own worker with a device, one with fewer cores; both are there again at the end."""
    note = json.loads(next((jobs.platform.home / "prefect" / "workers").glob("*-gpu.json")).read_text())
    words = [sys.executable, "-m", "quantplay.cli", "worker", "--pool", "gpu", "--name", "narrow"]
    first = min(os.sched_getaffinity(0))
    os.kill(note["pid"], signal.SIGSTOP)
    narrow = subprocess.Popen(
        words, env=jobs.platform.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {first}),
    )  # fmt: skip
    try:
        yield
    finally:
        os.kill(note["pid"], signal.SIGCONT)
        narrow.send_signal(signal.SIGTERM)
        narrow.wait(60)


def test_a_run_sends_its_heavy_plays_and_a_killed_job_is_sent_once_more(jobs: Jobs) -> None:
    run = jobs.start("jobs", envelope__types=["Q5_0"])
    refused = jobs.start("no-such-chip", envelope__target_chip="NVIDIA H100*")
    damaged = jobs.start_damaged()

    for process in processes_of(jobs.running(run, "evaluate").id):
        process.kill()
    ended = jobs.wait(run)
    assert ended.state is not None
    assert ended.state.name == "Locked", ended.state.message

    sent = jobs.of(run)
    assert jobs.names(run) == ["baseline-job", "envelope-job", "ptq-job", "evaluate-job", "evaluate-job"]
    assert [job.state.name for job in sent if job.state] == ["Completed"] * 3 + ["Crashed", "Completed"]
    assert {job.work_queue_name for job in sent} == {ended.work_queue_name} == {"interactive"}
    messages = [job.state.message for job in sent if job.state and job.state.is_completed()]
    assert all(is_digest(message or "") for message in messages)

    shown = jobs.show(run)
    plays = {play["play"]: play["key"] for play in shown["plays"]}
    assert messages == [plays[name] for name in ("baseline", "envelope", "ptq", "evaluate")]
    outcomes = [job["outcome"] for job in shown["jobs"] if job["play"] == "evaluate"]
    assert outcomes == ["lost", "done"], "the device was free for the second one"
    assert shown["device_hours"]["evaluate"] > 0
    inputs = {entry.name for entry in (jobs.platform.home / "inputs").iterdir()}
    assert len(inputs) >= 4, "model, calibration, evaluation, held-out text, put together from the artifact store"

    nobody = jobs.wait(refused)
    assert nobody.state is not None
    assert nobody.state.is_failed()
    assert jobs.of(refused) == [], "refused before anything is sent"
    assert "no worker has the hardware this run asks for" in str(nobody.state.message)
    assert "cores" in str(nobody.state.message), "what the workers have is listed"

    failed = jobs.wait(damaged)
    assert failed.state is not None
    assert "IntegrityError: heldout.jsonl, an input of this run, can't be had" in str(failed.state.message)
    assert "do this: give whoever sends the work" in str(failed.state.message), "it says what to do, as in the job"
    assert jobs.names(damaged) == ["baseline-job"], "an error is not tried again like a crash"
    of_damaged = jobs.show(damaged)
    assert (of_damaged["state"], of_damaged["exit_code"]) == ("failed", 2)
    assert [job["outcome"] for job in of_damaged["jobs"]] == ["failed"]


def test_a_second_run_repeats_nothing_and_takes_no_device(jobs: Jobs) -> None:
    run = jobs.start("jobs", envelope__types=["Q5_0"])
    ended = jobs.wait(run)
    assert ended.state is not None
    assert ended.state.name == "Locked", ended.state.message
    shown = jobs.show(run)
    assert all(play["reused"] for play in shown["plays"])
    assert (shown["jobs"], shown["device_hours"]) == ([], {})


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two kinds of machine need two processors")
def test_a_job_gives_itself_back_where_the_baseline_was_measured_on_other_hardware(jobs: Jobs) -> None:
    with jobs.platform.client() as client:
        before = next(job for job in client.read_flow_runs() if client.read_flow(job.flow_id).name == "envelope-job")
    with other_worker(jobs):
        job = jobs.platform.start("envelope-job/gpu", **before.parameters)
        given_back = jobs.wait(job, until=lambda run: run.state is not None and run.state.name == "GivenBack")
        assert given_back.state is not None
        assert given_back.state.is_scheduled()
        assert "measured on other hardware" in str(given_back.state.message)
    done = jobs.wait(job)
    assert done.state is not None
    assert before.state is not None
    assert (done.state.name, done.state.message) == ("Completed", before.state.message)


@pytest.mark.parametrize("cancelled", ["run", "job"])
def test_run_and_job_are_cancelled_together_within_seconds(jobs: Jobs, cancelled: str) -> None:
    run = jobs.start(f"cancelled-{cancelled}", seed=3 if cancelled == "run" else 4)
    job = jobs.running(run, "baseline").id
    jobs.set_state(run if cancelled == "run" else job, "Cancelling")
    started = time.monotonic()
    ends = [jobs.wait(one) for one in (run, job)]
    assert [end.state.name for end in ends if end.state] == ["Cancelled", "Cancelled"]
    eventually(lambda: not heavy_children(job), "its heavy child still works", seconds=15)
    with (jobs.platform.home / "devices" / "cpu.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert time.monotonic() - started < 60
    assert jobs.show(run)["state"] == "cancelled"
