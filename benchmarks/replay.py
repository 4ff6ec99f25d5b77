"""A package gives its artifact again, byte for byte: in fresh empty homes, the artifact removed, the network cut off.

In full, the package comes from a whole run over a few items of the pilot; `--quick` really quantizes the same model and makes up
the answers around it, which a replay does not use.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.playground import make_playground
from benchmarks.replay_package import made_contents
from benchmarks.report import Goal, at_least, finish, print_table, quick_asked
from quantplay.handoff.pack import write_package
from quantplay.settings import settings

REPLAYS, QUICK_REPLAYS = 10, 2
# Where namespaces are not allowed: every attempt to connect to another machine fails inside Python, children included.
GUARD = """
import socket
def refused(*_, **__):
    raise OSError("the network is cut off")
socket.socket.connect = socket.socket.connect_ex = refused
socket.create_connection = socket.getaddrinfo = refused
"""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How the network is cut off."""

    how: str
    prefix: tuple[str, ...]  # of the command
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Replayed:
    identical: bool
    seconds: float
    cpu_seconds: float  # of all its processes
    peak_resident_bytes: int  # of the largest process
    left: tuple[str, ...]  # what it left in its home


def cut_off(folder: Path) -> Cut:
    """A network namespace with nothing in it where the system allows one, else a guard in every Python process."""
    for prefix in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
            return Cut(how=" ".join(prefix), prefix=prefix, environment={})
    (folder / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    return Cut(how="a guard in Python's sockets", prefix=(), environment={"PYTHONPATH": str(folder)})


def require_cut_off(cut: Cut) -> None:
    """Raise where a connection to the package index is still possible."""
    code = "import socket; socket.create_connection(('1.1.1.1', 443), timeout=3)"
    tried = subprocess.run(
        [*cut.prefix, sys.executable, "-c", code], capture_output=True, env={**os.environ, **cut.environment}
    )
    assert tried.returncode != 0, f"{cut.how} lets connections through"


def locked_package(folder: Path) -> Path:
    """The package of a whole run through the command line."""
    here = make_playground(folder)
    try:
        _, run = here.run(here.plan("replayed"))
        assert run["package"], run
        return Path(run["package"]["path"])
    finally:
        here.quantplay("down")


def made_package(folder: Path) -> Path:
    return Path(write_package(made_contents(folder, settings().cache), folder / "package").path)


def replay(package: Path, home: Path, cut: Cut) -> Replayed:
    """One replay by the command line in an empty home."""
    cleaned = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_", "HF_"))}
    environment = {
        **cleaned, **cut.environment, "QUANTPLAY_HOME": str(home), "QUANTPLAY_CACHE": str(settings().cache),
        "QUANTPLAY_THREADS": "1",
    }  # fmt: skip
    command = [*cut.prefix, sys.executable, "-m", "quantplay.cli", "replay", str(package), "--json"]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        told = out.read()
    body = json.loads(told)
    if child.returncode not in (0, 2) or "error" in body:
        sys.exit(f"the replay failed with {child.returncode}: {told}")
    left = tuple(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    return Replayed(
        identical=child.returncode == 0 and body["made"] == body["recorded"], seconds=time.perf_counter() - started,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_resident_bytes=usage.ru_maxrss * 1024, left=left,
    )  # fmt: skip


def main() -> int:
    quick = quick_asked()
    count = QUICK_REPLAYS if quick else REPLAYS
    top = Path(tempfile.mkdtemp(prefix="quantplay-replay-"))
    top.chmod(0o755)
    try:
        package = made_package(top) if quick else locked_package(top)
        for artifact in (package / "artifact").iterdir():
            artifact.unlink()
        cut = cut_off(top)
        require_cut_off(cut)
        done = [replay(package, top / f"home-{number}", cut) for number in range(1, count + 1)]
    finally:
        shutil.rmtree(top, ignore_errors=True)
    rows = [
        (
            f"replay {number}",
            "yes" if one.identical else "NO",
            one.seconds,
            one.cpu_seconds,
            one.peak_resident_bytes / 2**20,
        )
        for number, one in enumerate(done, start=1)
    ]
    print(f"network cut off by: {cut.how}; artifact removed; an empty home each")
    print_table(("", "same bytes", "seconds", "CPU seconds", "peak MiB"), rows)
    same = sum(one.identical for one in done)
    figures = {
        "replays": count, "identical": same, "network": cut.how,
        "seconds": [round(one.seconds, 2) for one in done],
        "cpu_seconds": [round(one.cpu_seconds, 2) for one in done],
        "peak_resident_mib": round(max(one.peak_resident_bytes for one in done) / 2**20, 1),
    }  # fmt: skip
    left = sum(len(one.left) for one in done)
    goals = {"identical": at_least(same, count, "replays"), "files_left_in_homes": Goal(left, "0 files", left == 0)}
    return finish("replay", figures, goals)


if __name__ == "__main__":
    raise SystemExit(main())
