"""The llama-cpp-python wheel of our own, kept in quantplay's cache. Why our own: docs/adr/0005.

The cache holds `sdist/llama_cpp_python-VERSION.tar.gz`, which quantplay's GGUF converter also comes from, and
`wheels/KEY/` with the wheel and a `made-of.json` saying what KEY stands for. A folder appears by one rename, when it
is complete, and its wheel is checked by sha256 on every use. Standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import SetupError, run_logged, say

VERSION = "0.3.36"
SDIST = f"llama_cpp_python-{VERSION}.tar.gz"
# The same literal stands in quantplay/engines/converter.py; a test holds them together.
SDIST_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
NO_COMMON = Path(__file__).with_name("no_common.cmake")
NINJA_COUNT = re.compile(r"\[(\d+)/(\d+)\]")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cpu_features() -> list[str]:
    """Instruction-set flags as the kernel lists them, sorted; where it lists none, what the platform module knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return sorted(set(value.split()))
    except OSError:
        pass
    if sys.platform == "darwin":
        answer = subprocess.run(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return sorted(answer.stdout.split())
    return [platform.processor() or "unknown"]


def made_of() -> dict[str, object]:
    """Everything that can change whether a wheel built there runs here: the wheel is compiled for this very CPU."""
    return {
        "version": VERSION,
        "sdist": SDIST_SHA256,
        "options": {"LLAVA_BUILD": "OFF", "no_common.cmake": sha256_of(NO_COMMON)},
        "python": f"cp{sys.version_info.major}{sys.version_info.minor}",
        "system": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".strip(),
        "cpu_features": cpu_features(),
    }


def key_of(parts: dict[str, object]) -> str:
    """Name of the folder in the cache for a wheel made of `parts`."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def wheel_in(folder: Path) -> Path | None:
    """The complete, undamaged wheel in `folder`, or None."""
    try:
        noted = json.loads((folder / "made-of.json").read_text(encoding="utf-8"))
        wheel = folder / noted["wheel"]
        return wheel if sha256_of(wheel) == noted["wheel_sha256"] else None
    except (OSError, ValueError, KeyError):
        return None


def ensure_wheel(cache: Path, python: Path, log: Path) -> Path:
    """The wheel for this machine from the cache, built first where it is not there yet. `python` has pip.

    Raises SetupError: no compiler, no network, wrong bytes, or a compile that stopped.
    """
    parts = made_of()
    folder = cache / "wheels" / key_of(parts)
    if wheel := wheel_in(folder):
        return wheel
    with only_one(cache / "wheels" / "lock", "another set-up is building llama-cpp-python; waiting for it"):
        if wheel := wheel_in(folder):
            return wheel
        require_compiler()
        sdist = ensure_sdist(cache, python, log)
        say(
            f"      llama-cpp-python {VERSION}: no wheel for this machine yet. Compiling it once: about 4 CPU-minutes "
            f"({os.cpu_count()} CPUs here). It is kept in {folder}"
        )
        work = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
        try:
            wheel = build(sdist, work, python, log)
            noted = parts | {"wheel": wheel.name, "wheel_sha256": sha256_of(wheel)}
            (work / "made-of.json").write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            work.chmod(0o755)
            work.replace(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder / wheel.name


def require_compiler() -> None:
    """A C and a C++ compiler, as CMake would look for them."""
    for variable, names, package in (("CC", ("cc", "gcc", "clang"), "gcc"), ("CXX", ("c++", "g++", "clang++"), "g++")):
        chosen = os.environ.get(variable)
        if not any(shutil.which(name) for name in ([chosen.split()[0]] if chosen else names)):
            raise SetupError(
                f"no {'C' if variable == 'CC' else 'C++'} compiler ({chosen or ', '.join(names)}), and llama-cpp-python "
                f"has to be compiled. Install one (Debian: apt-get install {package}; Fedora: dnf install gcc gcc-c++; "
                "macOS: xcode-select --install), then run make again."
            )


def ensure_sdist(cache: Path, python: Path, log: Path) -> Path:
    """The source distribution in `cache`, downloaded by pip where missing or damaged, checked by sha256."""
    target = cache / "sdist" / SDIST
    if target.is_file() and sha256_of(target) == SDIST_SHA256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        run_logged(
            [python, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps", "--progress-bar", "off",
             "--no-binary", "llama-cpp-python", "--dest", folder, f"llama-cpp-python=={VERSION}"],
            what=f"Downloading the sources of llama-cpp-python {VERSION}",
            log=log,
            progress=lambda line: f"downloading the sources of llama-cpp-python {VERSION} (73 MiB)",
        )  # fmt: skip
        found = Path(folder) / SDIST
        digest = sha256_of(found) if found.is_file() else "no such file"
        if digest != SDIST_SHA256:
            raise SetupError(
                f"{SDIST} is not the file this project was made with: sha256 {digest}, expected {SDIST_SHA256}. "
                "Nothing was built. Check the index that `pip config list` shows."
            )
        found.replace(target)
    return target


def build(sdist: Path, folder: Path, python: Path, log: Path, defines: Iterable[str] = ()) -> Path:
    """Compile `sdist` into a wheel in `folder`, without llama.cpp's own programs and image support.

    For this very CPU, unless `defines` (CMake's NAME=VALUE) say something else.
    """
    run_logged(
        [python, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-input", "--no-deps", "--no-cache-dir", "--verbose",
         "--wheel-dir", folder,
         "--config-settings", "cmake.define.LLAVA_BUILD=OFF",
         "--config-settings", f"cmake.define.CMAKE_PROJECT_llama.cpp_INCLUDE={NO_COMMON.absolute()}",
         *(word for define in defines for word in ("--config-settings", f"cmake.define.{define}")),
         sdist],
        what=f"Compiling llama-cpp-python {VERSION}",
        log=log,
        progress=compile_progress(),
        env=os.environ | {"CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1)},
    )  # fmt: skip
    wheels = list(folder.glob("llama_cpp_python-*.whl"))
    if len(wheels) != 1:
        raise SetupError(f"pip built {len(wheels)} wheels of llama-cpp-python where one was expected. Log: {log}")
    return wheels[0]


def compile_progress() -> Callable[[str], str | None]:
    """Turns pip's and ninja's lines into a few words; ninja counts as `[57/143]`."""

    def progress(line: str) -> str | None:
        if counts := NINJA_COUNT.search(line):
            return f"compiling llama.cpp, {counts[1]} of {counts[2]} steps"
        if "Installing build dependencies" in line:
            return "installing what the build needs"
        if "Configuring CMake" in line:
            return "configuring the build"
        if "Created wheel" in line:
            return "packing the wheel"
        return None

    return progress


@contextmanager
def only_one(lock: Path, waiting: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `lock`; says `waiting` where someone else has it. Freed when the process ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"      {waiting}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
