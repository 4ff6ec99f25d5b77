"""What the doctor looks at on the machine itself: Python, packages, compiler, llama.cpp, threads, memory, disk."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from quantplay.cli.doctor import Finding
from quantplay.settings import settings, usable_cpus

OLDEST, NEWEST = (3, 11), (3, 12)
LEAST_DISK_GIB = 5.0
LEAST_MEMORY_GIB = 4.0
GIB = float(1 << 30)
INSTALL = f"{sys.executable} -m pip install -e ."


def python() -> Iterator[Finding]:
    here = sys.version_info[:2]
    allowed = OLDEST <= here <= NEWEST
    yield Finding(
        name="Python", state="good" if allowed else "missing", found=f"{platform.python_version()} at {sys.executable}",
        fix=None if allowed else "install Python 3.11 or 3.12 and run `make install` with it",
    )  # fmt: skip


def packages() -> Iterator[Finding]:
    """Every package the base install asks for, at a version it allows."""
    from packaging.requirements import Requirement

    wrong: list[str] = []
    count = 0
    for line in metadata.requires("quantplay") or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} {found}, needs {wanted.specifier}")
    if wrong:
        yield Finding(name="packages", state="missing", found="; ".join(wrong), fix=INSTALL)
    else:
        yield Finding(name="packages", state="good", found=f"{count} of {count}")


def compiler() -> Iterator[Finding]:
    """Only needed while llama-cpp-python is built."""
    names = ("c++", "g++", "clang++")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        yield Finding(
            name="C++ compiler", state="note", found="none; needed only to build llama-cpp-python",
            fix="apt-get install g++, or xcode-select --install",
        )  # fmt: skip
        return
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    yield Finding(name="C++ compiler", state="good", found=(done.stdout.splitlines() or [program])[0])


def llama_cpp() -> Iterator[Finding]:
    """In a process of its own: a build for another processor dies of an illegal instruction."""
    code = "from quantplay.engines.llama_cpp import runtime_description as d; print(d())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 0:
        yield Finding(name="llama.cpp", state="good", found=" ".join(done.stdout.split()))
        return
    why = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
    yield Finding(
        name="llama.cpp", state="missing", found=f"does not load: {why}",
        fix=f"{sys.executable} -m pip install --force-reinstall --no-cache-dir --no-deps llama-cpp-python==0.3.36",
    )  # fmt: skip


def converter() -> Iterator[Finding]:
    """A run that makes a GGUF needs the sources of llama.cpp's converter; `make setup` left them in the cache folder of then."""
    from quantplay.engines.converter import converter_folder, installed_pin, sdist_file

    version, pin = installed_pin()
    cache = settings().cache
    places = (converter_folder(cache, version, pin), sdist_file(cache, version))
    if found := next((place for place in places if place.exists()), None):
        yield Finding(name="converter to GGUF", state="good", found=str(found))
    else:
        yield Finding(
            name="converter to GGUF", state="note", found=f"not in {cache}: the first run that makes a GGUF downloads its sources, 73 MiB",
            fix="without a network, set QUANTPLAY_CACHE to the folder that was the cache when `make setup` ran",
        )  # fmt: skip


def signatures() -> Iterator[Finding]:
    """Only needed by plans of profile production."""
    from quantplay.signoff import ssh

    program = shutil.which("ssh-keygen")
    yield Finding(
        name="ssh-keygen", state="note" if program is None else "good", found=program or "none; production plans are signed with it",
        fix=ssh.INSTALL if program is None else None,
    )  # fmt: skip


def threads() -> Iterator[Finding]:
    here, cpus = settings().threads, usable_cpus()
    fits = 1 <= here <= cpus
    yield Finding(
        name="threads", state="good" if fits else "note", found=f"{here} for heavy work, {cpus} processors usable",
        fix=None if fits else f"export QUANTPLAY_THREADS={cpus}",
    )  # fmt: skip


def processor() -> Iterator[Finding]:
    """What it can do for low precision; the planner probes how fast."""
    from quantplay.envelope.hardware import read_cpu, vector_units
    from quantplay.envelope.probe import last_cache

    name, features = read_cpu()
    units = ", ".join(vector_units(features)) or "no vector units for low precision"
    yield Finding(
        name="processor", state="good", found=f"{name}: {units}; last cache {last_cache() / (1 << 20):.0f} MiB"
    )


def memory() -> Iterator[Finding]:
    import psutil

    found = psutil.virtual_memory()
    enough = found.total >= LEAST_MEMORY_GIB * GIB
    yield Finding(
        name="memory", state="good" if enough else "note",
        found=f"{found.total / GIB:.1f} GiB, {found.available / GIB:.1f} free",
        fix=None if enough else f"the pilot wants {LEAST_MEMORY_GIB:g} GiB",
    )  # fmt: skip


def disk() -> Iterator[Finding]:
    for name, folder in {"home": settings().home, "cache": settings().cache}.items():
        there = nearest(folder)
        free = shutil.disk_usage(there).free / GIB
        enough = free >= LEAST_DISK_GIB
        yield Finding(
            name=f"disk, {name}", state="good" if enough else "note", found=f"{free:.1f} GiB free at {folder}",
            fix=None if enough else f"free some space, or set QUANTPLAY_{name.upper()} to a folder on another disk",
        )  # fmt: skip


def nearest(folder: Path) -> Path:
    """`folder`, or the nearest one above it that exists."""
    return next(one for one in (folder, *folder.parents) if one.exists())


LOOKS = (python, packages, compiler, llama_cpp, converter, signatures, processor, threads, memory, disk)
