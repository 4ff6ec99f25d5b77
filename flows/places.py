"""Which workers there are on this machine: their names, and the note and the lock by which each is known."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from quantplay.errors import InputError
from quantplay.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which worker this is, and where."""

    name: str
    pool: str
    device: str  # identity of the device its jobs run on


def default_name(pool: str, device: str | None = None) -> str:
    """One worker a pool and host; one a device where a host has several."""
    return "-".join(part for part in (socket.gethostname(), pool, device) if part)


@dataclass(frozen=True, kw_only=True)
class LocalWorker:
    """A worker process of this machine."""

    name: str
    pid: int
    api_url: str  # of the server it pulls from


def folder_of(settings: Settings) -> Path:
    return settings.home / "prefect" / "workers"


def note_of(settings: Settings, name: str) -> Path:
    return folder_of(settings) / f"{name}.json"


def read_note(path: Path) -> LocalWorker | None:
    try:
        return LocalWorker(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_note(settings: Settings, worker: LocalWorker) -> None:
    """All of it or nothing: whoever reads it at this moment must not take the worker for a dead one."""
    note = note_of(settings, worker.name)
    note.parent.mkdir(parents=True, exist_ok=True)
    part = note.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(worker)))
    part.replace(note)


@contextmanager
def claimed(settings: Settings, name: str) -> Iterator[None]:
    """Be the worker called `name` of this home. Raises InputError where another process is."""
    note_of(settings, name).parent.mkdir(parents=True, exist_ok=True)
    with note_of(settings, name).with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "a worker of that name runs already", value=name, fix="stop it, or give this one another --name"
            ) from error
        write_note(settings, LocalWorker(name=name, pid=os.getpid(), api_url=os.environ["PREFECT_API_URL"]))
        yield
