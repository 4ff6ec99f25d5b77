"""The two arms of ptq_overhead: the play, and llama.cpp's own tool. Each quantizes one GGUF file in processes of its own."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay import process
from quantplay.evalset import manifest_of_model
from quantplay.plays.pin import Pinned
from quantplay.plays.ptq import quantize
from quantplay.process import Report
from quantplay.quantizers.importance import calibration_texts, measure_importance
from quantplay.records import Recipe

IMPORTANCE_TEXTS, IMPORTANCE_TOKENS = 8, 256


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one piece of work took, child processes and their start included."""

    wall_seconds: float
    cpu_seconds: float
    peak_resident_bytes: int


def measured(work: Callable[[], int]) -> Cost:
    """Run `work`, which works in child processes, waits for them and returns their peak memory."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    peak = work()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_seconds=wall, cpu_seconds=cpu, peak_resident_bytes=peak)


def job_cost(target: str, payload: dict[str, Any], threads: int) -> Cost:
    """One job of quantplay.process."""
    return measured(lambda: process.run(target, payload, threads=threads).peak_resident_bytes)


def play_cost(recipe: Recipe, pinned: Pinned, reference: Path, out: Path) -> Cost:
    """Play 3 as a run calls it: reading, checks, llama.cpp's quantizer, digest, writing to the disk."""
    return measured(lambda: quantize(recipe, pinned, reference=reference, out=out).peak_resident_bytes)


def tool_cost(program: Path, reference: Path, out: Path, kind: str, threads: int) -> Cost:
    """llama-quantize, timed without the process that starts it."""
    command = [str(program), str(reference), str(out), kind, str(threads)]
    return Cost(**process.run("benchmarks.ptq_arms:tool_job", {"command": command}, threads=threads).value)


def tool_job(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """In a child of its own, because the kernel tells the peak memory of ended children only as a maximum over all."""

    def work() -> int:
        subprocess.run(payload["command"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024

    return vars(measured(work))


def read_through(*files: Path) -> None:
    """Put what both arms read into the page cache."""
    for path in files:
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def digest_job(payload: dict[str, Any], report: Report) -> str:
    """What pinning a model takes."""
    return manifest_of_model(Path(payload["model"]), payload["model"], None).content


def importance_job(payload: dict[str, Any], report: Report) -> str:
    """An importance matrix over a few texts of the pilot; time grows with the texts, memory does not."""
    texts = calibration_texts(Path(payload["calibration"]), IMPORTANCE_TEXTS)
    matrix = measure_importance(Path(payload["model"]), texts, tokens=IMPORTANCE_TOKENS, threads=1, on_progress=report)
    return matrix.digest()
