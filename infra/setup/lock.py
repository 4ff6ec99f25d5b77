"""Writes requirements.lock: what pip itself chooses today for pyproject's dependencies and their dev extra.

`make lock` runs this in .venv. pip's own resolver makes the lock because pip installs from it: the two agree on extra
indexes and local wheels without a word of configuration. torch is written without the build's local suffix, so that
each machine takes the build its own pip finds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commands import SetupError
from environment import LOCK, ROOT, cache_folder
from llama_wheel import key_of, made_of

HEADER = """\
# Every package with its exact version, those that others bring along too. Written by `make lock`; don't edit.
# Made from pyproject.toml (dependencies and the dev extra) by pip on Python {python}, {platform}, with a CPU build of torch.
"""
ACCELERATOR = re.compile(r"^(nvidia-(cublas|cuda|cudnn|cufft|cusparse|nccl)|triton$|cuda-toolkit)")


def requirements(project: Path) -> list[str]:
    """The dependencies pyproject declares, with those of the dev extra."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    return [*table["dependencies"], *table["optional-dependencies"]["dev"]]


def resolve(wanted: Iterable[str]) -> list[Mapping[str, Any]]:
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


def pin(metadata: Mapping[str, Any]) -> str:
    """`name==version` with the name normalised and without a local version suffix."""
    name = re.sub(r"[-_.]+", "-", metadata["name"]).lower()
    return f"{name}=={metadata['version'].partition('+')[0]}"


def main() -> int:
    print("Asking pip what it would install; this takes a minute or two.", flush=True)
    try:
        lines = sorted(pin(metadata) for metadata in resolve(requirements(ROOT / "pyproject.toml")))
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
