"""The work pools: `cpu` for orchestration, `gpu` for heavy plays, each with the same three queues."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantplay.store.jobs import CPU

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import WorkPool

    from quantplay.store.registry import Store

QUEUES = {"interactive": 1, "revalidation": 2, "batch": 3}
"""Name and priority; 1 is served first. What names no queue waits in the last one."""
ROOM = {"interactive": 6, "revalidation": 5, "batch": 4}
"""Runs at once in each queue of `cpu`, where they mostly wait. Together they fill the pool, so that no queue starves another."""
ORCHESTRATIONS = sum(ROOM.values())
COMMAND = "python -m prefect.engine"
"""What runs a flow; a worker puts its own Python first on the path."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A work pool as it has to be."""

    name: str
    description: str
    limit: int  # runs at once
    room: Mapping[str, int]  # queue -> runs at once in it; a queue that is not named has all of the pool's


def pools(devices: int) -> tuple[Pool, ...]:
    """devices: how many devices the workers of `gpu` have; one job at a time on each."""
    return (
        Pool(
            name="cpu",
            description="Orchestration: runs that send heavy plays on and wait.",
            limit=ORCHESTRATIONS,
            room=ROOM,
        ),
        Pool(name="gpu", description="Heavy plays, one at a time on each device.", limit=max(devices, 1), room={}),
    )


async def ensure_pools(client: PrefectClient, devices: int) -> list[str]:
    """Make the pools what they have to be; returns what was changed, in words."""
    changed = []
    for wanted in pools(devices):
        pool = await found_pool(client, wanted.name)
        if pool is None:
            pool = await made_pool(client, wanted)
            changed.append(f"work pool {wanted.name}")
        else:
            changed += await ensure_limit(client, pool, wanted.limit)
        changed += await ensure_queues(client, pool)
        changed += await ensure_room(client, wanted)
    return changed


async def ensure_limit(client: PrefectClient, pool: WorkPool, limit: int) -> list[str]:
    from prefect.client.schemas.actions import WorkPoolUpdate

    if pool.concurrency_limit == limit:
        return []
    await client.update_work_pool(pool.name, WorkPoolUpdate(concurrency_limit=limit))
    return [f"limit of work pool {pool.name}: {limit}"]


def count_devices(store: Store, local: set[str]) -> int:
    """How many devices there are to run heavy plays on: `local` ones of this machine, and those of the workers that are alive.

    The identity of an accelerator is the same wherever it is seen; `cpu` is one for each host.
    """
    here = {(socket.gethostname() if device == CPU else "", device) for device in local}
    there = {(worker.host if worker.device == CPU else "", worker.device) for worker in store.list_workers("gpu")}
    return len(here | there)


async def found_pool(client: PrefectClient, name: str) -> WorkPool | None:
    from prefect.exceptions import ObjectNotFound

    try:
        return await client.read_work_pool(name)
    except ObjectNotFound:
        return None


def job_template() -> dict[str, Any]:
    """Prefect's own for processes, with the command written out: it then starts one Python a run, not two."""
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = COMMAND
    return template


async def made_pool(client: PrefectClient, wanted: Pool) -> WorkPool:
    """A new pool, or the one somebody else made at this moment."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    body = WorkPoolCreate(
        name=wanted.name,
        type="process",
        description=wanted.description,
        concurrency_limit=wanted.limit,
        base_job_template=job_template(),
    )
    try:
        return await client.create_work_pool(body)
    except ObjectAlreadyExists:
        return await client.read_work_pool(wanted.name)


async def ensure_queues(client: PrefectClient, pool: WorkPool) -> list[str]:
    """The three queues with their priorities. The queue Prefect makes with every pool becomes the last of them."""
    changed = []
    found = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=pool.name)}
    last = max(QUEUES, key=QUEUES.__getitem__)
    if last not in found and pool.default_queue_id is not None:
        await client.update_work_queue(pool.default_queue_id, name=last)
        changed.append(f"queue {pool.name}/{last}")
    for name in QUEUES:
        if name not in found and name != last:
            await made_queue(client, pool.name, name)
            changed.append(f"queue {pool.name}/{name}")
    # Each change of one priority moves the others along, so they are set from the first to the last, then read again.
    for name, priority in QUEUES.items():
        queues = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=pool.name)}
        if queues[name].priority != priority:
            await client.update_work_queue(queues[name].id, priority=priority)
            changed.append(f"priority of queue {pool.name}/{name}: {priority}")
    return changed


async def ensure_room(client: PrefectClient, wanted: Pool) -> list[str]:
    """Limit how many runs of a queue are under way at once."""
    changed = []
    for queue in await client.read_work_queues(work_pool_name=wanted.name):
        limit = wanted.room.get(queue.name)
        if limit is not None and queue.concurrency_limit != limit:
            await client.update_work_queue(queue.id, concurrency_limit=limit)
            changed.append(f"limit of queue {wanted.name}/{queue.name}: {limit}")
    return changed


async def made_queue(client: PrefectClient, pool: str, name: str) -> None:
    from prefect.exceptions import ObjectAlreadyExists

    try:
        await client.create_work_queue(name=name, priority=QUEUES[name], work_pool_name=pool)
    except ObjectAlreadyExists:
        return
