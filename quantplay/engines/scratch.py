"""Folders for files in the making. What a killed process left there is removed by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CLAIM = "in-use"


def claim_scratch(root: Path) -> Path:
    """A new folder below `root`, this process's own for as long as it lives. Folders of processes that are gone are removed."""
    return _claim(root)[0]  # the claim is never closed: the system does that with the process, however it ends


@contextmanager
def claimed_scratch(root: Path) -> Iterator[Path]:
    """The same, gone at the end of the block."""
    mine, claim = _claim(root)
    try:
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        os.close(claim)


def _claim(root: Path) -> tuple[Path, int]:
    root.mkdir(parents=True, exist_ok=True)
    lock = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in root.iterdir():
            if folder.is_dir() and not in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)
        mine = Path(tempfile.mkdtemp(dir=root))
        claim = os.open(mine / CLAIM, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(claim, fcntl.LOCK_EX)
    finally:
        os.close(lock)
    return mine, claim


def in_use(folder: Path) -> bool:
    """Whether a living process claims `folder`."""
    with suppress(FileNotFoundError), (folder / CLAIM).open("r+") as claim:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
