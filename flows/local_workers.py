"""The workers of this machine: a process each, started, found again and stopped. A note with the process id says which they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

from flows.places import LocalWorker, Place, default_name, folder_of, note_of, read_note, write_note
from flows.services import reap, runs_module
from quantplay.envelope.hardware import read_devices
from quantplay.settings import Settings

COMMAND = "quantplay.cli"
ENDING_SECONDS = 25.0  # for a worker whose runs have to end first
GRACE_SECONDS = 2.0  # an idle worker leaves at once


def wanted_places() -> tuple[Place, ...]:
    """One worker for orchestration, one for each device; a machine without an accelerator is itself the device."""
    devices = read_devices()
    heavy = [
        Place(name=default_name("gpu", str(index) if len(devices) > 1 else None), pool="gpu", device=device)
        for index, device in enumerate(devices or ("cpu",))
    ]
    return (Place(name=default_name("cpu"), pool="cpu", device="cpu"), *heavy)


def ensure_worker(settings: Settings, place: Place) -> LocalWorker | None:
    """Start the worker where it does not run; None where it does. The caller holds the lock of `quantplay up`.

    One that pulls from another server, where this home had one before, is replaced.
    """
    api_url = os.environ["PREFECT_API_URL"]
    found = read_note(note_of(settings, place.name))
    if found is not None and alive(found):
        if found.api_url == api_url:
            return None
        end([found], drain=False)
    folder = folder_of(settings)
    folder.mkdir(parents=True, exist_ok=True)
    words = ["worker", "--pool", place.pool, "--name", place.name, "--device", place.device]
    with (folder / f"{place.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal of `up` is not meant for it
        )
    worker = LocalWorker(name=place.name, pid=process.pid, api_url=api_url)
    write_note(settings, worker)
    return worker


def local_workers(settings: Settings) -> tuple[LocalWorker, ...]:
    """Those that run, by name."""
    found = (read_note(note) for note in sorted(folder_of(settings).glob("*.json")))
    return tuple(worker for worker in found if worker is not None and alive(worker))


def stop_workers(settings: Settings, drain: bool = False) -> list[str]:
    """Stop every worker of this machine and what it still runs; their names. drain: let running jobs finish first."""
    running = local_workers(settings)
    end(running, drain)
    end_leftovers(settings)
    for note in folder_of(settings).glob("*.json"):
        note.unlink(missing_ok=True)
    return [worker.name for worker in running]


def end(workers: Sequence[LocalWorker], drain: bool) -> None:
    """First no new runs, then the end of those that run, which their states say; then by force."""
    tell(workers, signal.SIGTERM)
    wait_for(workers, float("inf") if drain else GRACE_SECONDS)
    tell(workers, signal.SIGTERM)
    wait_for(workers, ENDING_SECONDS)
    for worker in workers:
        if alive(worker):
            os.killpg(worker.pid, signal.SIGKILL)
    wait_for(workers, GRACE_SECONDS)


def tell(workers: Iterable[LocalWorker], number: signal.Signals) -> None:
    for worker in workers:
        if alive(worker):
            os.kill(worker.pid, number)


def wait_for(workers: Iterable[LocalWorker], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)


def end_leftovers(settings: Settings) -> None:
    """End runs whose worker was killed: they would wait for a database that is about to stop."""
    import psutil

    home = str(settings.home / "prefect")
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and "prefect" in " ".join(process.cmdline()):
                theirs = process.environ()
                if theirs.get("PREFECT__FLOW_RUN_ID") and theirs.get("PREFECT_HOME") == home:
                    process.kill()
        except psutil.Error:
            continue


def alive(worker: LocalWorker) -> bool:
    """Whether the process is that very worker: a number can belong to another process by now."""
    reap(worker.pid)
    return runs_module(worker.pid, COMMAND, "worker", worker.name)
