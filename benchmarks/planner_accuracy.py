"""Do the planner's predictions hold on this machine? `python -m benchmarks.planner_accuracy [--quick]`

Every candidate of a plan that names many GGUF types, on the pilot (2.6 M parameters) and on a random model in the shapes of Llama 3.2 1B
with two layers (187 M): what the planner says from a two-second probe, before the file exists, against the file in llama.cpp under the plan's
load. Promise: peak memory within 10 %, time per token within 30 %, of every candidate; time to first token is shown.

One thread. Time is processor time, of the probe and of the measurement alike, because other jobs on a machine stretch wall time;
the best of several turns, and model and probe take turns. Speed is predicted for types only, so the random model tells
as much as a trained one. `--quick`: the pilot alone, and fewer types.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.large_model import save_large_model
from benchmarks.models import PILOT
from benchmarks.report import Goal, at_most, finish, print_table, quick_asked
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_quantize import quantize_file
from quantplay.envelope.choose import choose
from quantplay.envelope.hardware import measure_fingerprint
from quantplay.envelope.planner import FULL, MOST_PROBED, probed_types
from quantplay.envelope.probe import probe
from quantplay.envelope.shape import read_shape
from quantplay.formats import TYPES
from quantplay.harness.speed import Arm
from quantplay.harness.speed_load import Turn
from quantplay.plan import Envelope
from quantplay.records import Candidate, EnvelopeChoice, Machine
from quantplay.settings import settings

THREADS = 1
TYPES_TRIED = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "IQ4_NL", "Q4_0", "Q3_K_M", "Q2_K")
QUICK_TYPES = ("Q8_0", "Q4_K_M", "IQ4_XS")
TURNS, ROUNDS, QUICK_ROUNDS = 8, 3, 2
MEMORY_ERROR, TIME_ERROR = 10.0, 30.0  # percent
LARGE_LAYERS = 2


@dataclass(frozen=True)
class Measured:
    """One candidate as it ran: milliseconds, bytes."""

    first_token: float
    per_token: float
    peak: int


def main() -> int:
    quick = quick_asked()
    kinds = QUICK_TYPES if quick else TYPES_TRIED
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cases = [("pilot", PILOT / "model", Envelope(types=kinds, context_tokens=256, batch=batch)) for batch in (1, 4)]
        if not quick:
            save_large_model(work / "large", layers=LARGE_LAYERS)
            cases.append(("187 M", work / "large", Envelope(types=kinds, context_tokens=128, batch=1)))
        rows, memory, decode, first = [], [], [], []
        for name, model, envelope in cases:
            files = made(work / f"{name}-{envelope.batch}", model, kinds)
            choice, measured = predicted_and_measured(model, envelope, files, QUICK_ROUNDS if quick else ROUNDS)
            assert choice.full_precision is not None
            for one in (choice.full_precision, *choice.candidates):
                found = measured[one.type]
                rows.append(row(f"{name}, batch {envelope.batch}", one, found))
                assert one.prediction is not None
                memory.append(error(one.total_bytes, found.peak))
                decode.append(error(one.prediction.time_per_token_ms, found.per_token))
                first.append(error(one.prediction.time_to_first_token_ms, found.first_token))
            for path in files.values():
                path.unlink()
    print_table(
        ("model", "type", "memory, MiB", "measured", "", "per token, ms", "measured", "", "first token, ms", "measured", ""), rows
    )  # fmt: skip
    figures = {
        "candidates": len(rows), "memory_mean_percent": mean(memory), "decode_mean_percent": mean(decode),
        "first_token_mean_percent": mean(first), "first_token_largest_percent": round(max(map(abs, first)), 1),
    }  # fmt: skip
    goals: dict[str, Goal] = {
        "memory_largest_error": at_most(max(map(abs, memory)), MEMORY_ERROR, "%"),
        "decode_largest_error": at_most(max(map(abs, decode)), TIME_ERROR, "%"),
    }
    return finish("planner_accuracy", figures, goals)


def made(folder: Path, model: Path, kinds: tuple[str, ...]) -> dict[str, Path]:
    """The full-precision file and one a type, without an importance matrix: no tensor of these types is stored otherwise with one
    where the planner says so."""
    folder.mkdir()
    files = {FULL["llama.cpp"]: folder / "full.gguf"}
    convert(ensure_converter(settings().cache), model, files[FULL["llama.cpp"]])
    for kind in kinds:
        ftype = TYPES[kind].ftype
        assert ftype is not None
        files[kind] = folder / f"{kind}.gguf"
        quantize_file(files[FULL["llama.cpp"]], files[kind], ftype=ftype, threads=THREADS)
    return files


def predicted_and_measured(
    model: Path, envelope: Envelope, files: Mapping[str, Path], rounds: int
) -> tuple[EnvelopeChoice, dict[str, Measured]]:
    """The choice by the best of several probes, and every file's best turn, in turns."""
    shape = read_shape(model)
    kinds = probed_types(shape, tuple(files))
    turns: dict[str, list[Turn]] = {name: [] for name in files}
    peaks: dict[str, int] = {}
    probes = []
    for _ in range(rounds):
        probes.append(
            probe(
                kinds, [min(MOST_PROBED, envelope.batch)], hidden=shape.hidden, head_dim=shape.head_dim, threads=THREADS,
                clock=time.process_time,
            )
        )  # fmt: skip
        for name, path in files.items():
            with arm(name, path, envelope) as running:
                turns[name] += [Turn(**running.ask("turn")) for _ in range(TURNS)]
                peaks[name] = running.ask("memory")["peak_resident_bytes"]
    machine = best_of(probes)
    choice = choose(envelope, model, measure_fingerprint(THREADS), machine=machine, shape=shape)
    return choice, {
        name: Measured(
            first_token=1000 * min(turn.first_token_seconds for turn in found),
            per_token=1000 * min(turn.generation_seconds / turn.steps for turn in found),
            peak=peaks[name],
        )
        for name, found in turns.items()
    }


def best_of(probes: Sequence[Machine]) -> Machine:
    """Every rate by itself, as a file's turns are the best of theirs."""

    def least(rates: Iterable[Mapping[str, float]]) -> dict[str, float]:
        found = list(rates)
        return {key: min(one[key] for one in found) for key in found[0]}

    kernels = {
        kind: rate.model_copy(
            update={
                "streamed_ps": least(one.kernels[kind].streamed_ps for one in probes),
                "cached_ps": least(one.kernels[kind].cached_ps for one in probes),
            }
        )
        for kind, rate in probes[0].kernels.items()
    }
    return probes[0].model_copy(
        update={
            "kernels": kernels,
            "attention_ps": least(one.attention_ps for one in probes),
            "node_us": min(one.node_us for one in probes),
            "bandwidth_gb_s": max(one.bandwidth_gb_s for one in probes),
        }
    )


@contextlib.contextmanager
def arm(name: str, path: Path, envelope: Envelope) -> Iterator[Arm]:
    load = {
        "context_tokens": envelope.context_tokens, "batch": envelope.batch, "threads": THREADS, "clock": "processor",
        "text": text(),
    }  # fmt: skip
    with Arm(name, path, load) as running:
        yield running


def text() -> str:
    lines = (PILOT / "heldout" / "text.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    return "\n".join(json.loads(line)["text"] for line in lines)


def row(name: str, one: Candidate, found: Measured) -> tuple[object, ...]:
    told = one.prediction
    assert told is not None
    cells: list[object] = [name, one.type]
    for predicted, measured in (
        (one.total_bytes / 2**20, found.peak / 2**20), (told.time_per_token_ms, found.per_token),
        (told.time_to_first_token_ms, found.first_token),
    ):  # fmt: skip
        cells += [f"{predicted:.3g}", f"{measured:.3g}", f"{error(predicted, measured):+.0f} %"]
    return tuple(cells)


def error(predicted: float, measured: float) -> float:
    """Percent of what was measured."""
    return 100 * (predicted / measured - 1)


def mean(errors: list[float]) -> float:
    return round(sum(abs(one) for one in errors) / len(errors), 1)


if __name__ == "__main__":
    raise SystemExit(main())
