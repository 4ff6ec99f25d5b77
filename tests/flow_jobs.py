"""Jobs of a deployed platform, as tests look at them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil

from benchmarks.deployed_platform import DeployedPlatform
from quantplay.digest import digest_of_file

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

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
