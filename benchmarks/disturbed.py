"""A platform of its own whose parts can be killed and started again, and what can be seen of it from outside.

Its database is a PostgreSQL that is somebody else's to start, as in a team; its workers are processes of this module, one a device.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil

from benchmarks.deployed_platform import DeployedPlatform
from benchmarks.playground import PILOT, first_lines, make_playground
from quantplay.settings import Settings
from quantplay.store.embedded import server_pid, start_embedded, stop_embedded
from quantplay.store.registry import Store, open_store

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

HEAVY, ENGINE = "quantplay.process", "prefect"
POLL_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A process of the platform."""

    pid: int
    flow_run: str | None  # whose process it is
    device: str | None  # of its worker
    heavy: bool


@dataclass(frozen=True, kw_only=True)
class DisturbedPlatform(DeployedPlatform):
    """The platform, its database and its workers."""

    database: Path  # home of the database
    database_url: str
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    places: dict[str, tuple[str, str]] = field(default_factory=dict)  # name of a worker -> its pool and device

    @property
    def more(self) -> dict[str, str]:
        return {**super().more, "QUANTPLAY_DATABASE_URL": self.database_url}

    # --- workers -------------------------------------------------------------------------------------------------------

    def start_worker(self, name: str, pool: str, device: str = "cpu") -> None:
        self.places[name] = (pool, device)
        log = (self.home / "prefect" / f"{name}.log").open("ab")
        with log:
            self.workers[name] = subprocess.Popen(
                [sys.executable, "-m", "quantplay.cli", "worker", "--pool", pool, "--name", name, "--device", device],
                env={**self.env, "PREFECT_API_URL": self.api_url},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill_worker(self, name: str) -> None:
        """The worker alone: what it runs is not asked."""
        self.workers[name].kill()
        self.workers[name].wait()

    def start_dead_workers(self) -> None:
        for name, process in list(self.workers.items()):
            if process.poll() is not None:
                self.start_worker(name, *self.places[name])

    def await_workers(self, pool: str, count: int, seconds: float = 120) -> None:
        """Until that many workers of `pool` have pulled once."""

        def online() -> bool:
            with self.client() as client:
                found = client.request("POST", "/work_pools/{name}/workers/filter", path_params={"name": pool}, json={})
                return sum(one["status"] == "ONLINE" for one in found.json()) >= count

        self.until(online, seconds, f"{count} workers of {pool}")

    # --- processes -----------------------------------------------------------------------------------------------------

    def processes(self) -> list[Seen]:
        """Every process of a flow run and its children, those that are dead already left out."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if HEAVY not in words and not any(word.startswith(ENGINE) for word in words[1:4]):
                    continue
                theirs = process.environ()
                if theirs.get("QUANTPLAY_HOME") == str(self.home) and theirs.get("PREFECT__FLOW_RUN_ID"):
                    if process.status() == psutil.STATUS_ZOMBIE:
                        continue
                    found.append(
                        Seen(
                            pid=process.pid, flow_run=theirs["PREFECT__FLOW_RUN_ID"],
                            device=theirs.get("QUANTPLAY_DEVICE"), heavy=HEAVY in words,
                        )
                    )  # fmt: skip
        return found

    def of(self, flow_run: UUID, heavy: bool | None = None) -> list[int]:
        """Processes of one flow run: all, or only its heavy children, or only the others."""
        return [
            one.pid
            for one in self.processes()
            if one.flow_run == str(flow_run) and (heavy is None or one.heavy == heavy)
        ]

    # --- Prefect and the product database ------------------------------------------------------------------------------

    def state(self, flow_run: UUID) -> str:
        """Prefect's state by name: Running, Crashed, Locked ..."""
        with self.client() as client:
            return str(client.read_flow_run(flow_run).state_name)

    def jobs_of(self, flow_run: UUID) -> list[FlowRun]:
        """The jobs a run has sent, oldest first."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

        wanted = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run]))
        with self.client() as client:
            return sorted(client.read_flow_runs(flow_run_filter=wanted), key=lambda run: run.created or run.id)

    def set_pool_limit(self, limit: int) -> None:
        from prefect.client.schemas.actions import WorkPoolUpdate

        with self.client() as client:
            client.update_work_pool("gpu", WorkPoolUpdate(concurrency_limit=limit))

    def store(self) -> Store:
        """The product database; to use in a `with` block."""
        return open_store(
            Settings(
                home=self.home, cache=self.home / "cache", database_url=self.database_url,
                artifacts_url=(self.home / "artifacts").as_uri(), threads=1, owners=self.home / "owners.yaml",
                sign_off_days=14, prefect_api_url=self.api_url,
            )
        )  # fmt: skip

    def stop_database(self) -> None:
        stop_embedded(self.database)

    def start_database(self) -> None:
        start_embedded(self.database)

    def kill_server(self) -> None:
        """The Prefect server, with -9."""
        os.kill(json.loads((self.home / "prefect" / "server.json").read_text())["pid"], signal.SIGKILL)

    def start_server(self) -> None:
        done = self.quantplay("up", "--no-workers", "--json")
        assert done.returncode == 0, done.stderr
        page = json.loads(done.stdout)["page"]
        assert page == self.page, f"the server came back as {page}, its workers know {self.page}"

    def until(self, holds: Callable[[], Any], seconds: float, what: str) -> Any:
        """What `holds` gives once it is true. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}\n{self.logs()[-4000:]}")
            time.sleep(POLL_SECONDS)
        return found


@contextlib.contextmanager
def disturbed_platform(devices: Sequence[str]) -> Iterator[DisturbedPlatform]:
    """A worker of the pool `cpu`, and one of the pool `gpu` for each of `devices`; gone at the end with everything it made."""
    top = Path(tempfile.mkdtemp(prefix="quantplay-disturbed-"))
    top.chmod(0o755)
    playground = make_playground(top)
    # Fewer items still: what is looked at is when a play runs, not what it finds.
    first_lines(PILOT / "evaluation" / "gate.jsonl", playground.folder / "gate.jsonl", 6, by="slice")
    first_lines(PILOT / "heldout" / "text.jsonl", playground.folder / "heldout.jsonl", 8)
    url = start_embedded(top / "database").set(drivername="postgresql").render_as_string(hide_password=False)
    platform = DisturbedPlatform(playground=playground, api_url="", database=top / "database", database_url=url)
    try:
        done = platform.quantplay("up", "--no-workers", "--json")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        platform = DisturbedPlatform(
            playground=playground, api_url=f"{json.loads(done.stdout)['page']}/api", database=top / "database",
            database_url=url,
        )  # fmt: skip
        platform.start_worker("orchestrator", "cpu")
        for device in devices:
            platform.start_worker(f"worker-{device}", "gpu", device)
        platform.await_workers("cpu", 1)
        platform.await_workers("gpu", len(devices))
        yield platform
    finally:
        for worker in platform.workers.values():
            worker.kill()
            worker.wait()
        for one in platform.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        platform.quantplay("down")
        if server_pid(top / "database") is not None:
            stop_embedded(top / "database")
        shutil.rmtree(top, ignore_errors=True)


class Watch(threading.Thread):
    """Looks from outside for heavy processes of two flow runs on one device."""

    def __init__(self, platform: DisturbedPlatform) -> None:
        super().__init__(daemon=True)
        self.platform, self.ended = platform, threading.Event()
        self.looks = 0
        self.together: set[frozenset[str]] = set()

    def run(self) -> None:
        while not self.ended.wait(0.2):
            found: dict[str, set[str]] = {}
            for one in self.platform.processes():
                if one.heavy:
                    found.setdefault(str(one.device), set()).add(str(one.flow_run))
            self.looks += 1
            self.together |= {frozenset(runs) for runs in found.values() if len(runs) > 1}


def kill(pids: Sequence[int]) -> None:
    """All at once, with -9."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
