"""What does the play add to llama.cpp's quantizer? `python -m benchmarks.ptq_overhead [--quick]`

A model with random weights in the shapes of Llama 3.2 1B, made for this: play 3 as a run calls it, against llama-quantize built
from the source distribution; the same float32 GGUF, the same type (Q4_K_M) without importance matrix, the same number of threads,
all files in the page cache before each turn. The play is timed with the start of its process, its imports, the search of the source
weights for NaN, its checks of the file, the digest and the flush to the disk; the tool has none of these. Promise: at most
1.15 times the time and 1.2 times the memory, and the same tensors, byte by byte.

Time is processor time, the best of several turns taken in turns: another job on the machine stretches wall time. On a free machine,
without --quick, wall time has the same goal. Memory is the peak of resident memory: the input is mapped into memory by both, and llama.cpp
unmaps each tensor when it is done, so the peak is the largest tensor as it lies in the file, its quantized form, and the program.
Digesting the source, converting it and measuring an importance matrix are shown, without a goal. `--quick`: one layer
instead of 16, and 1.3 times the time, because starting a process counts for more.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.large_model import save_large_model
from benchmarks.llama_tools import build
from benchmarks.models import PILOT
from benchmarks.ptq_arms import IMPORTANCE_TEXTS, Cost, job_cost, play_cost, read_through, tool_cost
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay.digest import digest_of_bytes
from quantplay.engines.converter import ensure_converter
from quantplay.engines.gguf_header import read_gguf_header
from quantplay.plan_file import read_plan
from quantplay.plays.pin import Pinned, pin
from quantplay.quantizers.recipe import build_recipe
from quantplay.settings import settings

TYPE = "Q4_K_M"
THREADS = 1
LAYERS, QUICK_LAYERS = 16, 1
REPEATS = 2
MOST_TIME, MOST_MEMORY = 1.15, 1.2
QUICK_MOST_TIME = 1.3  # half a second to start a process is a tenth of the work there


def main() -> int:
    quick = quick_asked()
    cache = settings().cache
    program = build("quantize", cache)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        parameters = save_large_model(work / "model", layers=QUICK_LAYERS if quick else LAYERS)
        pinned, around = prepare(work, cache)
        recipe = build_recipe(
            plan_for(work), TYPE, pinned.inputs,
            threads=THREADS, converter=ensure_converter(cache).digest, importance=False,
        )  # fmt: skip
        reference, made, oracle = work / "reference.gguf", work / "play.gguf", work / "tool.gguf"
        turns: dict[str, list[Cost]] = {"play": [], "llama-quantize": []}
        arms = {
            "play": lambda: play_cost(recipe, pinned, reference, made),
            "llama-quantize": lambda: tool_cost(program, reference, oracle, TYPE, THREADS),
        }
        for repeat in range(REPEATS):
            for name in arms if repeat % 2 else reversed(arms):
                read_through(reference, *sorted((work / "model").glob("*.safetensors")))
                turns[name].append(arms[name]())
        different = tensors_different(made, oracle)
        if not quick:
            around[f"importance matrix, {IMPORTANCE_TEXTS} texts"] = job_cost(
                "benchmarks.ptq_arms:importance_job",
                {"model": str(work / "model"), "calibration": str(pinned.paths.calibration)},
                THREADS,
            )
        sizes = {path.stem: path.stat().st_size for path in (reference, made)}
    best = {name: best_of(found) for name, found in turns.items()}
    return show(parameters, best, around, sizes, different, quick=quick)


def plan_for(work: Path) -> Any:
    """The pilot's plan for the model made here."""
    plan = read_plan(PILOT / "plan-pass.yaml")
    return plan.model_copy(update={"model": plan.model.model_copy(update={"source": str(work / "model")})})


def prepare(work: Path, cache: Path) -> tuple[Pinned, dict[str, Cost]]:
    """Digest and convert the model; what each took."""
    pinned = pin(plan_for(work), PILOT)
    digested = job_cost("benchmarks.ptq_arms:digest_job", {"model": str(work / "model")}, THREADS)
    payload = {"model": str(work / "model"), "out": str(work / "reference.gguf"), "cache": str(cache)}
    converted = job_cost("quantplay.engines.converter:convert_job", payload, THREADS)
    return pinned, {"digest of the source": digested, "conversion to float32": converted}


def best_of(turns: list[Cost]) -> Cost:
    """The least of each figure."""
    return Cost(**{name: min(asdict(turn)[name] for turn in turns) for name in asdict(turns[0])})


def tensors_different(one: Path, other: Path) -> int:
    """How many tensors are not the same bytes of the same type in both files."""
    first, second = tensor_digests(one), tensor_digests(other)
    return sum(first.get(name) != second.get(name) for name in first.keys() | second.keys())


def tensor_digests(path: Path) -> dict[str, tuple[Any, ...]]:
    header = read_gguf_header(path)
    found = {}
    with path.open("rb") as file:
        for name, tensor in header.tensors.items():
            file.seek(header.data_start + tensor.offset)
            found[name] = (tensor.kind, tensor.shape, digest_of_bytes(file.read(tensor.size_bytes)))
    return found


def show(
    parameters: int, best: Mapping[str, Cost], around: Mapping[str, Cost], sizes: Mapping[str, int], different: int, *, quick: bool
) -> int:  # fmt: skip
    print(f"{parameters / 1e9:.3f} billion parameters, {TYPE}, {THREADS} thread, the best of {REPEATS} turns\n")
    rows = [(name, *row(cost)) for name, cost in [*best.items(), *around.items()]]
    print_table(("", "CPU s", "wall s", "peak MiB"), rows)
    play, tool = best["play"], best["llama-quantize"]
    goals = {
        "time_times_the_tool": at_most(
            play.cpu_seconds / tool.cpu_seconds, QUICK_MOST_TIME if quick else MOST_TIME, "times"
        ),
        "memory_times_the_tool": at_most(play.peak_resident_bytes / tool.peak_resident_bytes, MOST_MEMORY, "times"),
        "tensors_different": at_most(different, 0),
    }
    wall = play.wall_seconds / tool.wall_seconds
    if not quick:
        goals["wall_time_times_the_tool"] = at_most(wall, MOST_TIME, "times")
    figures = {
        "parameters": parameters,
        "type": TYPE,
        "threads": THREADS,
        "wall_ratio": wall,
        "costs": {name: asdict(cost) for name, cost in [*best.items(), *around.items()]},
        "bytes": dict(sizes),
    }
    return finish("ptq_overhead", figures, goals)


def row(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.cpu_seconds:.2f}", f"{cost.wall_seconds:.2f}", f"{cost.peak_resident_bytes / 2**20:.0f}"


if __name__ == "__main__":
    sys.exit(main())
