"""Jobs for test_process: what a child can do to its parent."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from quantplay.errors import Fault, InputError


def double(payload: dict[str, Any], report: Any) -> Any:
    report(1, 2, "halves")
    report(2, 2, "halves")
    print("noise on standard output must not disturb the answer")
    return {"twice": payload["number"] * 2, "threads": os.environ["OMP_NUM_THREADS"]}


def refuse(payload: dict[str, Any], report: Any) -> Any:
    raise InputError("bad set", value="x", faults=[Fault(where="a.jsonl:3", what="empty answer")])


def stumble(payload: dict[str, Any], report: Any) -> Any:
    return 1 / payload["zero"]


def vanish(payload: dict[str, Any], report: Any) -> Any:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def allocate(payload: dict[str, Any], report: Any) -> Any:
    return len(bytearray(os.urandom(payload["mib"] * 2**20)))


def linger(payload: dict[str, Any], report: Any) -> Any:
    report(1, 1, str(os.getpid()))
    time.sleep(60)
