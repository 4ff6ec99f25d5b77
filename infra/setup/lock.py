"""Writes requirements.lock: what pip itself chooses today for pyproject's dependencies and their dev extra.

`make lock` runs this in .venv. pip's own resolver makes the lock because pip installs from it: the two agree on extra
indexes and local wheels without a word of configuration. torch is written without the build's local suffix, so that
each machine takes the build its own pip finds. pip answers for the Python it runs on; what only another supported Python
needs is asked for as well and written with its condition.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from commands import SetupError
from environment import LOCK, ROOT, cache_folder
from llama_wheel import key_of, made_of
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEADER = """\
# Every package with its exact version, those that others bring along too. Written by `make lock`; don't edit.
# Made from pyproject.toml (dependencies and the dev extra) by pip on Python {python}, {platform}, with a CPU build of torch.
"""
PYTHONS = ("3.11.0", "3.12.0")  # the ends of what pyproject supports
Package = Mapping[str, Any]  # one package's metadata table
ACCELERATOR = re.compile(r"^(nvidia-(cublas|cuda|cudnn|cufft|cusparse|nccl)|triton$|cuda-toolkit)")


def requirements(project: Path) -> list[str]:
    """The dependencies pyproject declares, with those of the dev extra."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    return [*table["dependencies"], *table["optional-dependencies"]["dev"]]


def resolve(wanted: Iterable[str]) -> list[Package]:
    """pip's answer to installing `wanted` into an empty environment: one metadata table a package."""
    wheels = cache_folder() / "wheels" / key_of(made_of())
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        answer = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--no-input",
             "--find-links", wheels.as_uri(), "--report", str(report), *wanted],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if answer.returncode != 0:
            raise SetupError(f"pip found no set of versions:\n{answer.stderr.strip()}")
        return [package["metadata"] for package in json.loads(report.read_text(encoding="utf-8"))["install"]]


def missing(wanted: Iterable[str], packages: Collection[Package], python: str) -> dict[str, Requirement]:
    """What `wanted` needs on another `python` and `packages` does not hold, by name."""
    tables = {canonicalize_name(package["name"]): package for package in packages}
    here = {**default_environment(), "python_full_version": python, "python_version": python.rpartition(".")[0]}
    queue, seen, absent = [Requirement(line) for line in wanted], set[str](), dict[str, Requirement]()
    while queue:
        requirement = queue.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        table = tables.get(canonicalize_name(requirement.name))
        if table is None:
            absent[canonicalize_name(requirement.name)] = requirement
            continue
        for line in table.get("requires_dist", ()):
            needed = Requirement(line)
            environments = [{**here, "extra": extra} for extra in ("", *requirement.extras)]
            if needed.marker is None or any(needed.marker.evaluate(each) for each in environments):
                queue.append(needed)
    return absent


def resolve_for_all(wanted: Collection[str]) -> dict[str, str]:
    """Package -> pin, with a condition where only some supported Python needs the package."""
    packages, conditions = resolve(wanted), dict[str, str]()
    while absent := {name: need for python in PYTHONS for name, need in missing(wanted, packages, python).items()}:
        for name, need in absent.items():
            conditions[name] = "" if need.marker is None or "extra" in str(need.marker) else f"; {need.marker}"
            need.marker = None
        packages = resolve([*wanted, *conditions, *map(str, absent.values())])
    pins = {canonicalize_name(package["name"]): pin(package) for package in packages}
    return {name: line + conditions.get(name, "") for name, line in pins.items()}


def pin(metadata: Package) -> str:
    """`name==version` with the name normalised and without a local version suffix."""
    return f"{canonicalize_name(metadata['name'])}=={metadata['version'].partition('+')[0]}"


def main() -> int:
    print("Asking pip what it would install; this takes some minutes.", flush=True)
    try:
        lines = sorted(resolve_for_all(requirements(ROOT / "pyproject.toml")).values())
    except SetupError as error:
        print(f"lock: {error}\nlock: requirements.lock is unchanged.", file=sys.stderr)
        return 3
    if gpu := [line for line in lines if ACCELERATOR.search(line)]:
        print(
            f"lock: pip chose a CUDA build of torch here ({', '.join(gpu[:3])} ...). Point pip's find-links or extra index "
            "at a CPU build of the torch version in pyproject.toml and run make lock again. requirements.lock is unchanged.",
            file=sys.stderr,
        )
        return 3
    header = HEADER.format(python=sys.version.split()[0], platform=sys.platform)
    temporary = LOCK.with_suffix(".new")
    temporary.write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(LOCK)
    print(f"requirements.lock: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
