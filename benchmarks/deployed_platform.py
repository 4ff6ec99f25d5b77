"""The whole platform in a home of its own, as `quantplay up` makes it: for benchmarks and tests that need deployed flows."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from benchmarks.playground import Playground, make_playground

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

MONITOR = "monitor/every-minute"


@dataclass(frozen=True, kw_only=True)
class DeployedPlatform:
    """Database, Prefect server, workers and deployments, and plans over a few items of the pilot."""

    playground: Playground
    api_url: str

    @property
    def home(self) -> Path:
        return self.playground.home

    @property
    def page(self) -> str:
        """Address of the Prefect UI."""
        return self.api_url.removesuffix("/api")

    @property
    def env(self) -> dict[str, str]:
        """For a process that shall work with this platform and no other: the command line finds the rest in the home."""
        return self.playground.environment(**self.more)

    @property
    def more(self) -> dict[str, str]:
        """One thread, because jobs run beside each other, and clients of Prefect as the workers have them."""
        return {
            "QUANTPLAY_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            "PREFECT_HOME": str(self.home / "prefect"),
        }

    def quantplay(self, *arguments: str, **environment: str) -> Any:
        """`quantplay ARGUMENTS` as a process; a CompletedProcess with text."""
        return self.playground.quantplay(*arguments, **(self.more | environment))

    def client(self) -> SyncPrefectClient:
        """To use in a `with` block."""
        from prefect.client.orchestration import SyncPrefectClient

        return SyncPrefectClient(api=self.api_url)

    def start(self, deployment: str, **parameters: Any) -> UUID:
        """Start FLOW/DEPLOYMENT as the form in the UI does; id of the flow run."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def pause(self, deployment: str) -> None:
        """No more runs by the clock: they would come at any moment, and use the machine."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            for schedule in found.schedules:
                client.update_deployment_schedule(found.id, schedule.id, active=False)

    def wait(self, flow_run: UUID, until: Callable[[FlowRun], bool] | None = None, seconds: float = 600) -> FlowRun:
        """The flow run once `until` holds for it; by default, once it ended."""
        reached = until or (lambda run: run.state is not None and run.state.is_final())
        deadline = time.monotonic() + seconds
        with self.client() as client:
            while True:
                run = client.read_flow_run(flow_run)
                if reached(run):
                    return run
                assert time.monotonic() < deadline, f"{run.name} is {run.state} after {seconds} s\n{self.logs()}"
                time.sleep(0.5)

    def logs(self) -> str:
        """The last words of server and workers, for a message."""
        files = sorted((self.home / "prefect").glob("**/*.log"))
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in files)


@contextmanager
def platform_up() -> Iterator[DeployedPlatform]:
    """Everything up, for the length of a `with` block; then down, and the home is gone."""
    # PostgreSQL drops root and must be able to enter the folder, which temporary folders don't allow by themselves.
    top = Path(tempfile.mkdtemp(prefix="quantplay-platform-"))
    top.chmod(0o755)
    playground = make_playground(top)
    try:
        done = DeployedPlatform(playground=playground, api_url="").quantplay("up", "--json")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        platform = DeployedPlatform(playground=playground, api_url=f"{json.loads(done.stdout)['page']}/api")
        platform.pause(MONITOR)
        yield platform
    finally:
        playground.quantplay("down")
        shutil.rmtree(top, ignore_errors=True)
