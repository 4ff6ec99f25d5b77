"""A worker: says what it has, then pulls runs from one pool until it is told to stop.

The first SIGTERM or SIGINT lets running jobs finish and takes no new ones; the second ends them, and they are marked as crashed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.places import Place, claimed
from flows.pools import ORCHESTRATIONS, count_devices, ensure_limit, found_pool
from flows.services import api_environment
from flows.stack_news import tell_of_new_stack
from quantplay.errors import InputError, QuantplayError, ServiceUnavailable
from quantplay.settings import Settings
from quantplay.store.registry import Store, open_store

if TYPE_CHECKING:
    from prefect.workers.process import ProcessWorker

ENDING_SECONDS = 10.0  # for a run that was told to end
SEEN_SECONDS = 20.0  # a worker not seen for two minutes counts as gone
# What Prefect's worker and the runs it starts read when they are imported.
ENVIRONMENT = {
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_PREFETCH_SECONDS": "1",
    "PREFECT_WORKER_ENABLE_CANCELLATION": "true",  # also of a run whose process has not started yet
    "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "10",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # what deployments/automations.yaml counts on
    "PREFECT_CLIENT_MAX_RETRIES": "6",  # two minutes for a server that restarts under a run
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
}


def serve(here: Settings, place: Place, say: Callable[[str], None]) -> None:
    """Work until told to stop. Raises ServiceUnavailable where database or Prefect server do not answer."""
    if "/" in place.name or "%" in place.name:
        raise InputError("the worker's name can't be used", value=place.name, allowed="a name without / and %")
    os.environ.update(api_environment(here))
    os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = ENVIRONMENT["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"]
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    os.environ.pop("QUANTPLAY_POOL", None)  # a job does its play itself; who sends plays on says so in its deployment
    os.environ["QUANTPLAY_DEVICE"] = place.device
    if place.device.startswith(("GPU-", "MIG-")):
        os.environ["CUDA_VISIBLE_DEVICES"] = place.device  # its jobs see this device and no other
    with claimed(here, place.name), open_store(here, say) as store:
        declare(store, place)
        gone = threading.Event()
        presence = threading.Thread(target=stay_seen, args=(store, place, gone), daemon=True)
        presence.start()
        if place.pool == "gpu":  # where packages are measured
            news = (here, store, place.pool, place.device, say)
            threading.Thread(target=tell_of_new_stack, args=news, daemon=True).start()
        try:
            asyncio.run(pull(place, count_devices(store, set()), say))
        finally:
            gone.set()
            presence.join()
            farewell(store, place)


def declare(store: Store, place: Place) -> None:
    from quantplay.envelope.hardware import read_devices, read_hardware

    hardware, known = read_hardware(), read_devices()
    at = known.index(place.device) if place.device in known else None
    chip = hardware.cpu if at is None else hardware.accelerators[at].split(",")[0]
    store.declare_worker(
        name=place.name, pool=place.pool, host=socket.gethostname(), device=place.device, hardware=hardware, chip=chip
    )


def stay_seen(store: Store, place: Place, gone: threading.Event) -> None:
    """Say every few seconds that the worker lives; a database that is away hears it later."""
    while not gone.wait(SEEN_SECONDS):
        try:
            if not store.worker_seen(place.name):
                declare(store, place)
        except QuantplayError:
            continue


def farewell(store: Store, place: Place) -> None:
    try:
        store.worker_stopped(place.name)
    except QuantplayError:
        return  # the database is away: the worker is not seen any more, which says the same a little later


async def pull(place: Place, devices: int, say: Callable[[str], None]) -> None:
    """Prefect's process worker, stopped in two steps. devices: how many there are now that this one has declared itself."""
    from prefect.client.orchestration import get_client
    from prefect.workers.process import ProcessWorker

    from flows.outlive import outlive_the_server
    from flows.resumed_at_once import wait_for_the_old_process

    limit = 1 if place.pool == "gpu" else ORCHESTRATIONS
    async with get_client() as client:
        pool = await found_pool(client, place.pool)
        if pool is None:
            raise ServiceUnavailable("the Prefect server has no such work pool", value=place.pool, fix="quantplay up")
        if place.pool == "gpu":
            await ensure_limit(client, pool, devices)
    worker = ProcessWorker(work_pool_name=place.pool, name=place.name, limit=limit, create_pool_if_not_found=False)
    outlive_the_server(worker, say)
    wait_for_the_old_process(worker)
    draining = asyncio.Event()
    take = worker.get_and_submit_flow_runs

    async def take_unless_draining() -> Any:
        return [] if draining.is_set() else await take()

    worker.get_and_submit_flow_runs = take_unless_draining
    working = asyncio.create_task(worker.start(printer=say))
    leaving = asyncio.create_task(leave_when_idle(worker, draining, working))
    told = False

    def stop() -> None:
        nonlocal told
        if told:
            say("ending the runs that are still there")
            end_runs(signal.SIGTERM)
            asyncio.get_running_loop().call_later(ENDING_SECONDS, end_runs, signal.SIGKILL)
        else:
            told = True
            say("taking no new runs; a second signal ends those that are still there")
            draining.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await working
    except asyncio.CancelledError:
        if not told:
            raise
    finally:
        leaving.cancel()


def end_runs(number: signal.Signals) -> None:
    """End the processes of the runs. The worker sees them end and says so in their states."""
    import psutil

    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "PREFECT__FLOW_RUN_ID" in process.environ():
                process.send_signal(number)


async def leave_when_idle(worker: ProcessWorker, draining: asyncio.Event, working: asyncio.Task[None]) -> None:
    """End `working` once the worker was asked to stop and nothing runs on it any more."""
    await draining.wait()
    while worker.is_setup and worker.limiter.borrowed_tokens:
        await asyncio.sleep(0.2)
    working.cancel()
