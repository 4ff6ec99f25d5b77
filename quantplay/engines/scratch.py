"""Folders for files in the making. What a killed process left there is removed by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

CLAIM = "in-use"
_claims: list[IO[str]] = []  # an open file is the claim: the system closes it with the process, however that ends


def claim_scratch(root: Path) -> Path:
    """A new folder below `root`, this process's own for as long as it lives. Folders of processes that are gone are removed."""
    root.mkdir(parents=True, exist_ok=True)
    lock = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in root.iterdir():
            if folder.is_dir() and not in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)
        mine = Path(tempfile.mkdtemp(dir=root))
        claim = (mine / CLAIM).open("w")
        fcntl.flock(claim, fcntl.LOCK_EX)
        _claims.append(claim)
    finally:
        os.close(lock)
    return mine


def in_use(folder: Path) -> bool:
    """Whether a living process claims `folder`."""
    with suppress(FileNotFoundError), (folder / CLAIM).open("r+") as claim:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
