from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantplay import process
from quantplay.errors import ChildProcessFailed, InputError


@pytest.fixture(autouse=True)
def jobs_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_a_job_returns_its_value_progress_and_fixed_threads() -> None:
    seen: list[tuple[int, int, str]] = []
    outcome = process.run("process_jobs:double", {"number": 21}, threads=3, on_progress=lambda *args: seen.append(args))
    assert outcome.value == {"twice": 42, "threads": "3"}
    assert seen[-1] == (2, 2, "halves")
    assert outcome.peak_resident_bytes > 2**20


def test_our_errors_cross_the_pipe_whole() -> None:
    with pytest.raises(InputError) as caught:
        process.run("process_jobs:refuse", {}, threads=1)
    assert caught.value.faults[0].where == "a.jsonl:3"
    assert caught.value.value == "x"


def test_an_unexpected_error_brings_its_traceback() -> None:
    with pytest.raises(ChildProcessFailed, match=r"ZeroDivisionError(.|\n)*process_jobs\.py"):
        process.run("process_jobs:stumble", {"zero": 0}, threads=1)


def test_a_killed_child_is_an_error_with_its_last_words() -> None:
    with pytest.raises(ChildProcessFailed, match=r"killed by SIGKILL(.|\n)*last words"):
        process.run("process_jobs:vanish", {}, threads=1)


def test_peak_memory_is_the_childs_own() -> None:
    ballast = bytearray(os.urandom(200 * 2**20))
    small = process.run("process_jobs:allocate", {"mib": 1}, threads=1).peak_resident_bytes
    large = process.run("process_jobs:allocate", {"mib": 80}, threads=1).peak_resident_bytes
    assert len(ballast) > small
    assert large - small > 60 * 2**20


def test_the_child_dies_with_its_parent() -> None:
    code = (
        "from quantplay import process\n"
        "process.run('process_jobs:linger', {}, threads=1, on_progress=lambda d, t, text: print(text, flush=True))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        if "State:\tZ" in Path(f"/proc/{child}/status").read_text():
            return
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


def test_a_lock_is_held_until_the_last_process_that_inherited_it_is_gone(tmp_path: Path) -> None:
    """The device's lock: the process that took it may be gone before its child is."""
    lock = os.open(tmp_path / "lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    free: list[bool] = []

    def started(done: int, total: int, pid: str) -> None:
        os.close(lock)
        free.append(can_lock(tmp_path / "lock"))
        os.kill(int(pid), signal.SIGKILL)

    with process.inherited(lock), pytest.raises(ChildProcessFailed, match="SIGKILL"):
        process.run("process_jobs:linger", {}, threads=1, on_progress=started)
    assert free == [False]
    assert can_lock(tmp_path / "lock")


def can_lock(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
