"""Heavy plays as jobs of workers: done once, whatever is killed; errors and cancellations cross between run and job."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil
import pytest

from benchmarks.deployed_platform import DeployedPlatform
from quantplay.digest import digest_of_file, is_digest

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

pytestmark = pytest.mark.slow
SECONDS = 600  # at most, on a machine that does other work too


class Jobs:
    """What the tests look at and do."""

    def __init__(self, platform: DeployedPlatform) -> None:
        self.platform = platform

    def start(self, name: str, **changes: Any) -> UUID:
        return self.platform.start("quantize/plan", plan=str(self.platform.playground.plan(name, **changes)))

    def start_damaged(self) -> UUID:
        """A run one of whose inputs lies damaged in the artifact store: only the job finds out."""
        text = self.platform.playground.folder / "damaged.jsonl"
        text.write_text('{"id": "h-1", "text": "A talk nobody else has heard."}\n')
        sha256 = digest_of_file(text)
        stored = self.platform.home / "artifacts" / "sha256" / sha256[:2] / sha256[2:4] / sha256
        stored.parent.mkdir(parents=True)
        stored.write_bytes(b"x" * text.stat().st_size)
        return self.start("damaged", evaluation__heldout=text.name)

    def of(self, run: UUID) -> list[FlowRun]:
        """The jobs that a flow run sent, in the order it sent them."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

        wanted = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
        with self.platform.client() as client:
            return sorted(client.read_flow_runs(flow_run_filter=wanted), key=lambda job: str(job.created))

    def named(self, run: UUID) -> list[tuple[str, FlowRun]]:
        jobs = self.of(run)
        with self.platform.client() as client:
            return [(client.read_flow(job.flow_id).name, job) for job in jobs]

    def names(self, run: UUID) -> list[str]:
        return [name for name, _ in self.named(run)]

    def running(self, run: UUID, play: str) -> FlowRun:
        """The job of this play, once its heavy child process works."""
        return eventually(lambda: self._running(run, play), f"no {play} job of {run} works\n{self.platform.logs()}")

    def _running(self, run: UUID, play: str) -> FlowRun | None:
        for name, job in self.named(run):
            if name == f"{play}-job" and job.state is not None and job.state.is_running() and heavy_children(job.id):
                return job
        return None

    def show(self, run: UUID) -> dict[str, Any]:
        """`quantplay show --json` of the run that a flow run opened."""
        listed = json.loads(self.platform.quantplay("show", "--json").stdout)["runs"]
        bodies = [json.loads(self.platform.quantplay("show", row["run"], "--json").stdout) for row in listed[:4]]
        return next(body for body in bodies if body["prefect_flow_run_id"] == str(run))

    def wait(self, run: UUID, until: Callable[[FlowRun], bool] | None = None) -> FlowRun:
        return self.platform.wait(run, until, seconds=SECONDS)

    def set_state(self, run: UUID, name: str) -> None:
        from prefect import states

        with self.platform.client() as client:
            client.set_flow_run_state(run, getattr(states, name)(message="by a test"))


def eventually(look: Callable[[], Any], otherwise: str, seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.3)


def processes_of(job: UUID) -> list[psutil.Process]:
    """Every process of a flow run, its heavy child included: they all inherit its id."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID") == str(job):
                found.append(process)
        except psutil.Error:
            continue
    return found


def heavy_children(job: UUID) -> list[psutil.Process]:
    found = []
    for process in processes_of(job):
        try:
            if "quantplay.process" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


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
