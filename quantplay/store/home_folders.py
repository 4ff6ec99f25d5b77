"""Folders below the home that come by themselves: fetched plans, inputs put together, files in the making. Who still needs which.

Each can be made again: a plan is fetched, inputs are put together from the artifact store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quantplay.engines.scratch import claimed_scratch, in_use
from quantplay.store.registry import Store
from quantplay.store.signoffs import OPENED

PLANS, INPUTS, SCRATCH = "plans", "inputs", "scratch"


@dataclass(frozen=True, kw_only=True)
class HomeFolder:
    """One of them."""

    kind: str  # plans | inputs | scratch
    path: Path
    size_bytes: int  # that removing it frees: files with another name elsewhere don't count
    modified: datetime  # UTC; when it was made or last used
    why: str | None  # why it stays


def home_folders(store: Store, home: Path) -> tuple[HomeFolder, ...]:
    """All of them, by name."""
    plans, inputs = _needed(store)
    found = [*_below(home / PLANS, plans), *_below(home / INPUTS, inputs)]
    found += [_described(path, "a process works in it" if in_use(path) else None) for path in _folders(home / SCRATCH)]
    return tuple(found)


def remove_folder(folder: HomeFolder, store: Store, home: Path) -> str | None:
    """Remove it; or why it stays. It is gone at once, whole, and was not used since it was listed."""
    with claimed_scratch(home / SCRATCH) as scratch:  # which removes those of dead processes
        if folder.kind == SCRATCH:
            return "a process works in it" if folder.path.exists() else None
        needed = _needed(store)[0 if folder.kind == PLANS else 1]
        if folder.path.name in needed:
            return needed[folder.path.name]
        aside = scratch / folder.path.name
        try:
            folder.path.rename(aside)
        except FileNotFoundError:
            return "not there any more"
        if datetime.fromtimestamp(aside.stat().st_mtime, UTC) != folder.modified:
            with contextlib.suppress(OSError):  # another one was made in its place: then nobody needs this one
                aside.rename(folder.path)
            return "used again meanwhile"
        return None


def _needed(store: Store) -> tuple[dict[str, str], dict[str, str]]:
    """Name -> why it stays: of the folders of plans, and of those of inputs."""
    plans, inputs = dict[str, str](), dict[str, str]()
    for run in store.runs_under_way():
        why = f"run {str(run.id)[:8]}, which is under way"
        for event in store.events(kind=OPENED, subject=str(run.id)):
            plans[Path(event.body.get("plan_path", "")).parent.name] = why
            inputs |= dict.fromkeys(event.body.get("inputs", {}).values(), why)
    return plans, inputs


def _below(top: Path, needed: dict[str, str]) -> Iterator[HomeFolder]:
    for path in _folders(top):
        yield _described(path, needed.get(path.name))


def _folders(top: Path) -> list[Path]:
    return sorted(path for path in top.iterdir() if path.is_dir() and not path.is_symlink()) if top.is_dir() else []


def _described(path: Path, why: str | None) -> HomeFolder:
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return HomeFolder(kind=path.parent.name, path=path, size_bytes=_freed(path), modified=modified, why=why)


def _freed(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            size += found.st_size if found.st_nlink == 1 and not path.is_dir() else 0
    return size
