"""Where the files of a pinned task file lie to each other, from their bytes alone: another machine puts them there again.

A manifest keeps a task's files by number and name, in the order `read_task_file` reads them. What they include and which data
they read by relative path stands in them, so the folders follow from it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from quantplay.errors import InputError, IntegrityError
from quantplay.evalset.taskfiles import data_names

PREFIX = "tasks/"


class Inert(yaml.SafeLoader):
    """Safe YAML; `!function` is read over."""


Inert.add_constructor("!function", lambda loader, node: None)


def task_layout(files: Mapping[str, Callable[[], bytes]]) -> dict[str, str]:
    """Name in the evaluation manifest -> path relative to one folder, `/` as separator, for every `tasks/...` name of `files`.

    The values give a file's bytes; only YAML is read. The task file itself of `tasks/STEM/` lies somewhere below `tasks/STEM`.
    Raises InputError for a task that names a file by an absolute path or through a folder that nothing of it lies in,
    IntegrityError where files and names don't fit.
    """
    stems: dict[str, dict[int, str]] = {}
    for name in files:
        if name.startswith(PREFIX):
            stem, _, last = name.removeprefix(PREFIX).rpartition("/")
            stems.setdefault(stem, {})[int(last.partition("-")[0])] = name
    found: dict[str, str] = {}
    for stem, numbered in stems.items():
        names = [numbered[number] for number in sorted(numbered)]
        found.update(zip(names, settled(stem, list(relative_paths(names, files))), strict=True))
    return found


def task_file_of(layout: Mapping[str, str], stem: str) -> str:
    """Path of the task file that a plan names as `.../STEM.yaml`, in the folder of the layout."""
    for name, path in layout.items():
        if name.startswith(f"{PREFIX}{stem}/0-"):
            return path
    raise IntegrityError("a task file of the plan was not pinned", value=stem, fix="start a new run")


def relative_paths(names: list[str], files: Mapping[str, Callable[[], bytes]]) -> Iterator[str]:
    """The path of each file relative to the folder of the first one."""
    waiting = list(names)

    def take(folder: str, name: str) -> str:
        steps = name.split("/")
        climbs = [number for number, step in enumerate(steps) if step == ".."]
        if posixpath.isabs(name) or climbs != list(range(len(climbs))):
            raise InputError(
                "a task file names another file by a path that no other machine has", value=name,
                allowed="a relative path, with every `..` at its beginning",
                fix="put the file beside the task file and name it relative to it",
            )  # fmt: skip
        path = posixpath.normpath(posixpath.join(folder, name))
        if not waiting or plain_name(waiting[0]) != posixpath.basename(path):
            raise IntegrityError("the files of a task don't fit together", value=path, fix="start a new run")
        waiting.pop(0)
        return path

    def walk(name: str, path: str, merged: dict[str, Any]) -> Iterator[str]:
        """This file and what it includes; `merged` becomes its configuration with the includes underneath."""
        yield path
        config = yaml.load(files[name](), Loader=Inert)  # noqa: S506 - Inert is a SafeLoader
        includes = config.pop("include", [])
        for include in includes if isinstance(includes, list) else [includes]:
            under: dict[str, Any] = {}
            inner = waiting[0] if waiting else ""
            yield from walk(inner, take(posixpath.dirname(path), include), under)
            merged.update(under)
        merged.update(config)

    first, config = names[0], {}
    yield from walk(first, take("", plain_name(first)), config)
    if not config.get("custom_dataset"):
        for data in data_names((config.get("dataset_kwargs") or {}).get("data_files") or []):
            yield take("", str(data))
    while waiting:  # the Python beside the task file
        yield take("", plain_name(waiting[0]))


def plain_name(name: str) -> str:
    """`b.yaml` of `tasks/STEM/3-b.yaml`."""
    return posixpath.basename(name).partition("-")[2]


def settled(stem: str, paths: list[str]) -> list[str]:
    """The same paths inside one folder: deep enough below it for the one that climbs highest."""
    climbs = max(path.split("/").count("..") for path in paths)
    depth = "/".join(str(level) for level in range(climbs))
    return [posixpath.normpath(posixpath.join(PREFIX + stem, depth, path)) for path in paths]


def read_bytes(path: Path) -> Callable[[], bytes]:
    return path.read_bytes
