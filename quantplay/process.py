"""Run heavy work in a fresh child process: `python -m quantplay.process` reads one job and answers over a pipe.

Why a child: its peak memory is its own, its thread count is fixed before any library starts, and a crash in native code is
an error message instead of a dead worker. Why not fork: forking after torch has started threads hangs. The child dies with
its parent.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quantplay import errors
from quantplay.errors import ChildProcessFailed, Fault, QuantplayError

Report = Callable[[int, int, str], None]
"""Progress of a job: done, total, what is being counted."""

PR_SET_PDEATHSIG = 1
LOG_TAIL = 30  # lines of the child's own output that an error quotes


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job returned and what it took."""

    value: Any  # JSON-safe
    seconds: float  # inside the job function, imports included
    peak_resident_bytes: int  # of the child process


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that fixes the thread count of every numeric library and keeps idle threads from spinning."""
    count = str(threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
    return {
        **dict.fromkeys(names, count),
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONHASHSEED": "0",
    }


_inherited: list[int] = []


@contextmanager
def inherited(descriptor: int) -> Iterator[None]:
    """Every child started meanwhile gets this open file too: a lock on it holds until the last of them is gone."""
    _inherited.append(descriptor)
    try:
        yield
    finally:
        _inherited.remove(descriptor)


def run(target: str, payload: dict[str, Any], *, threads: int, on_progress: Report | None = None) -> Outcome:
    """Call `target` ("package.module:function") with (payload, report) in a fresh child process.

    Errors of quantplay's own tree are raised here again as they were; a child that dies without an answer raises
    `ChildProcessFailed` with the end of what it printed.
    """
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "quantplay.process", str(write_end), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end, *_inherited),
            env={**os.environ, **thread_environment(threads)},
        )
        os.close(write_end)
        try:
            answer = converse(child, {"target": target, "payload": payload}, read_end, on_progress)
        except BaseException:
            child.kill()
            raise
        finally:
            code = child.wait()
        if answer is None:
            raise died(target, code, log)
    if "error" in answer:
        raise revive(answer["error"])
    return Outcome(value=answer["value"], seconds=answer["seconds"], peak_resident_bytes=answer["peak_resident_bytes"])


def converse(
    child: subprocess.Popen[bytes], job: dict[str, Any], read_end: int, on_progress: Report | None
) -> dict[str, Any] | None:
    """Send the job, pass progress on, and return the last message, or None when the child ended without one."""
    answer = None
    with os.fdopen(read_end, "r", encoding="utf-8") as messages:
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(job).encode())
            child.stdin.close()
        except BrokenPipeError:
            return None
        for line in messages:
            message = json.loads(line)
            if "progress" not in message:
                answer = message
            elif on_progress is not None:
                on_progress(*message["progress"])
    return answer


def died(target: str, code: int, log: IO[str]) -> ChildProcessFailed:
    log.seek(0)
    tail = "".join(deque(log, maxlen=LOG_TAIL)).strip()
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    hint = "often too little memory: see `dmesg`" if code == -signal.SIGKILL else "the lines above are its last words"
    return ChildProcessFailed(f"{target} {how} without an answer\n{tail}".rstrip(), fix=hint)


def revive(body: dict[str, Any]) -> QuantplayError:
    """The error the child raised, of the same class."""
    kind = getattr(errors, body["kind"], None)
    if kind is None:
        return ChildProcessFailed(f"{body['what']}\n{body['traceback']}".rstrip())
    arguments = {key: body[key] for key in ("value", "allowed", "fix")}
    if issubclass(kind, errors.InputError):
        arguments["faults"] = [Fault(**fault) for fault in body["faults"]]
    return kind(body["what"], **arguments)


# --- in the child --------------------------------------------------------------------------------------------------


def main(write_end: int, parent: int) -> None:
    die_with(parent)
    with os.fdopen(write_end, "w", encoding="utf-8", buffering=1) as messages:

        def send(message: dict[str, Any]) -> None:
            messages.write(json.dumps(message) + "\n")

        job = json.load(sys.stdin)
        started = time.perf_counter()
        try:
            module, _, name = job["target"].partition(":")
            function = getattr(importlib.import_module(module), name)
            value = function(job["payload"], throttled(send))
            seconds = time.perf_counter() - started
            send({"value": value, "seconds": seconds, "peak_resident_bytes": peak_resident_bytes()})
        except Exception as error:  # noqa: BLE001 - the parent raises it again
            send({"error": describe(error)})


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel for signal `number` when the parent dies; it may have died already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)


def throttled(send: Callable[[dict[str, Any]], None], seconds: float = 0.1) -> Report:
    last = 0.0

    def report(done: int, total: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= seconds:
            last = now
            send({"progress": [done, total, text]})

    return report


def peak_resident_bytes() -> int:
    """High-water mark of resident memory: this process's, or that of the largest child it has waited for.

    VmHWM, because getrusage's maximum still counts the parent's pages from before exec.
    """
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return max(int(line.split()[1]) * 1024, children)
    return max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, children)


def describe(error: Exception) -> dict[str, Any]:
    import traceback

    known = isinstance(error, QuantplayError)
    faults = [vars(fault) for fault in getattr(error, "faults", ())]
    return {
        "kind": type(error).__name__ if known else "",
        "what": error.what if isinstance(error, QuantplayError) else f"{type(error).__name__}: {error}",
        "value": str(error.value) if isinstance(error, QuantplayError) and error.value is not None else None,
        "allowed": getattr(error, "allowed", None) if known else None,
        "fix": getattr(error, "fix", None) if known else None,
        "faults": faults,
        "traceback": "" if known else traceback.format_exc(),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
