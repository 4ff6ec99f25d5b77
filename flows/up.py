"""What `quantplay up` makes, in the order in which one part needs another: database, server, pools, workers, deployments, automations.

Every step looks first and makes what is missing, so a second call changes nothing and one that was interrupted is completed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.deployed import automations, deployed, ensure_deployed
from flows.local_workers import ensure_worker, local_workers, stop_workers, wanted_places
from flows.places import folder_of
from flows.pools import count_devices, ensure_pools
from flows.services import ensure_server, stop_server
from quantplay.errors import ServiceUnavailable
from quantplay.settings import Settings
from quantplay.store.registry import Store, open_store

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

WORKER_SECONDS = 90.0


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """A work pool and who pulls from it."""

    name: str
    limit: int | None  # runs at once
    queues: dict[str, int]  # name and priority, first served first
    workers: tuple[str, ...]  # seen lately by the Prefect server


@dataclass(frozen=True, kw_only=True)
class DeploymentState:
    """A flow that can be started from the UI, a schedule or an event."""

    name: str  # flow/deployment
    pool: str | None
    queue: str | None
    schedule: str | None  # cron
    paused: bool


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What a Prefect server has of ours."""

    pools: tuple[PoolState, ...]
    deployments: tuple[DeploymentState, ...]
    automations: tuple[tuple[str, bool], ...]  # name, and whether it is switched on


@dataclass(frozen=True, kw_only=True)
class Up:
    """How things stand after `quantplay up`."""

    page: str  # address of the Prefect UI
    database: str
    platform: Platform
    changed: tuple[str, ...]  # what this call made, in words; nothing where everything was there


def bring_up(here: Settings, say: Callable[[str], None], workers: bool = True) -> Up:
    """Make everything that is missing. workers: also start those of this machine. Safe when called twice at once."""
    with only_one(here), open_store(here, say) as store:
        server = ensure_server(here, say)
        os.environ["PREFECT_API_URL"] = server.api_url
        changed = ["Prefect server"] if server.started else []
        places = wanted_places() if workers else ()
        local = {place.device for place in places if place.pool == "gpu"}
        done, platform = asyncio.run(complete(here, store, local, places, say))
        return Up(page=server.page, database=store.where, platform=platform, changed=tuple(changed + done))


async def complete(
    here: Settings, store: Store, local: set[str], places: tuple, say: Callable[[str], None]
) -> tuple[list[str], Platform]:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        changed = await ensure_pools(client, count_devices(store, local))
        started = [worker for place in places if (worker := ensure_worker(here, place)) is not None]
        changed += [f"worker {worker.name}" for worker in started]
        # Workers take seconds to start, and so does deploying: at the same time.
        changed += await ensure_deployed(client)
        await workers_ready(here, client, [worker.name for worker in started])
        return changed, await look(client)


async def workers_ready(here: Settings, client: PrefectClient, names: list[str]) -> None:
    """Wait until the server has heard from every worker that was just started."""
    deadline = time.monotonic() + WORKER_SECONDS
    while missing := set(names) - {name for pool in (await look_at_pools(client)) for name in pool.workers}:
        running = {worker.name for worker in local_workers(here)}
        dead = sorted(missing - running)
        if dead or time.monotonic() > deadline:
            name = (dead or sorted(missing))[0]
            log = folder_of(here) / f"{name}.log"
            raise ServiceUnavailable(
                f"worker {name} does not start", value=log, fix=f"read the end of {log}; then `quantplay up` again"
            )
        await asyncio.sleep(0.5)


def look_at() -> Platform:
    """The same for a caller that has no client; PREFECT_API_URL names the server."""
    from prefect.client.orchestration import get_client

    async def looked() -> Platform:
        async with get_client() as client:
            return await look(client)

    return asyncio.run(looked())


async def look(client: PrefectClient) -> Platform:
    """What the server has of ours now."""
    found = [
        DeploymentState(
            name=name,
            pool=one.work_pool_name,
            queue=one.work_queue_name,
            schedule=next((getattr(plan.schedule, "cron", "set") for plan in one.schedules if plan.active), None),
            paused=bool(one.paused),
        )
        for name, one in await deployed(client)
    ]
    return Platform(
        pools=await look_at_pools(client),
        deployments=tuple(sorted(found, key=lambda one: (one.pool or "", one.name))),
        automations=tuple((one.name, one.enabled) for one in await automations(client)),
    )


async def look_at_pools(client: PrefectClient) -> tuple[PoolState, ...]:
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    found = []
    for pool in await client.read_work_pools(
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=["cpu", "gpu"]))
    ):
        queues = await client.read_work_queues(work_pool_name=pool.name)
        online = [one for one in await client.read_workers_for_work_pool(pool.name) if one.status == "ONLINE"]
        found.append(
            PoolState(
                name=pool.name,
                limit=pool.concurrency_limit,
                queues={queue.name: queue.priority for queue in sorted(queues, key=lambda queue: queue.priority)},
                workers=tuple(sorted(worker.name for worker in online)),
            )
        )
    return tuple(sorted(found, key=lambda pool: pool.name))


def take_down(here: Settings, drain: bool = False) -> list[str]:
    """Stop what was started on this machine, workers first; names of what was stopped. The data stays."""
    from quantplay.store.embedded import stop_embedded

    if not here.home.is_dir():
        return []
    with only_one(here):
        stopped = [f"worker {name}" for name in stop_workers(here, drain)]
        if stop_server(here):
            stopped.append("Prefect server")
        if here.database_url is None and stop_embedded(here.home):
            stopped.append("PostgreSQL")
    return stopped


@contextmanager
def only_one(here: Settings) -> Iterator[None]:
    """Alone on this home: a second `up` waits, and then finds everything there."""
    here.home.mkdir(parents=True, exist_ok=True)
    with (here.home / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
