"""One job a device: a lock that the system gives back when the last process that uses the device is gone.

The lock is an flock on a file in a folder that everything on the machine shares; heavy child processes inherit it. Who holds
which device how long stands in the table `jobs`: device-hours are its sum.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

from quantplay.envelope.hardware import read_devices
from quantplay.errors import InputError, ServiceUnavailable
from quantplay.process import inherited
from quantplay.store.jobs import CPU
from tasks.progress import announce
from tasks.workbench import RunRef, workbench

T = TypeVar("T")


def on_device(run: RunRef, play: str, make: Callable[[], T]) -> Callable[[], T]:
    """`make`, holding this machine's device while it works."""

    def made() -> T:
        with device_for(play, run.id):
            return make()

    return made


@contextmanager
def device_for(play: str, run: UUID | None = None) -> Iterator[UUID]:
    """Hold this machine's device alone, waiting for whoever has it; yields the id of the row in `jobs`."""
    bench, host, name = workbench(), platform.node(), device()
    lock = open_lock(bench.settings.lock_folder, name)
    try:
        take(lock, lambda: announce(play, f"waiting for {name}: {holder(name, host)}"))
        job = bench.store.start_job(play=play, host=host, device=name, run=run)
        try:
            with inherited(lock):
                yield job
        except BaseException as error:
            with suppress(ServiceUnavailable):  # what went wrong first is what is told
                bench.store.finish_job(job, "failed")
            raise error
        bench.store.finish_job(job, "done")
    finally:
        os.close(lock)  # never LOCK_UN: that would take it from a child that still works


@cache
def device() -> str:
    """Identity of the device that jobs of this process run on: as set, else the first accelerator's own, else `cpu`."""
    return workbench().settings.device or next(iter(read_devices()), CPU)


def open_lock(folder: Path, name: str) -> int:
    """Descriptor of the lock file of device `name`; anybody who may read it can take it."""
    path = folder / f"{quote(name, safe='')}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY)
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(
            "the lock of a device can't be opened", value=f"{path}: {error.strerror}",
            fix="set QUANTPLAY_DEVICE_LOCKS to a folder on a local disk that this user may write to",
        ) from error  # fmt: skip


def take(lock: int, on_wait: Callable[[], None]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(lock, fcntl.LOCK_EX)


def holder(name: str, host: str) -> str:
    """Who has the device, as far as the product database knows."""
    using = [job for job in workbench().store.list_jobs(device=name) if job.finished_at is None]
    mine = [job for job in using if job.host == host] or using
    if not mine:
        return "another process uses it"
    job = mine[-1]
    whose = f"of run {str(job.run)[:8]}" if job.run is not None else "of a re-validation"
    return f"{job.play} {whose} uses it since {job.started_at.astimezone():%H:%M:%S}"
