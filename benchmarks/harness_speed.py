"""Is our harness faster than lm-eval's own? `python -m benchmarks.harness_speed [--quick]`

The same items of the pilot, from prompts to scores, through quantplay's harness in llama.cpp (float32 file) and through lm-eval's
HFLM in transformers (float32), untouched: the same lm-eval tasks and evaluator, one thread each, each runtime in a fresh process
while the other waits. Three kinds of work: generation; a choice between the values on a page (about one token each); a choice
between whole answers (about a dozen tokens). Promises: generation 3 times as fast as HFLM at its default batch of 1 and 1.2 times as
fast as at its best batch; choices, which share their prompt, 2 times and 1.2 times. And the answers are the same.

Goals are decided on processor time, because another job on the machine stretches wall time; both are shown. Each figure is the
best of several turns, taken in turns. Imports and model loading are not in them and are shown apart. `--quick`: few items.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness_arms import CONTEXT_TOKENS, WORKS, Arm, Turn, items_of
from benchmarks.models import PILOT
from benchmarks.report import at_least, finish, print_table, quick_asked
from quantplay.engines.converter import convert, ensure_converter
from quantplay.settings import settings

ITEMS_A_SLICE, QUICK_ITEMS_A_SLICE = 60, 6
REPEATS, QUICK_REPEATS = 3, 2
DEFAULT_BATCH = 1  # HFLM's
BATCHES = {"HFLM": (DEFAULT_BATCH, 4, 16, 64), "llama.cpp": (1, 4, 16, 64)}
QUICK_BATCHES = {"HFLM": (DEFAULT_BATCH, 16), "llama.cpp": (16,)}
TITLES = {"generation": "generation", "values": "choice of values", "sentences": "choice of sentences"}
FACTORS = {"generation": 3.0, "values": 2.0, "sentences": 2.0}  # against HFLM's default batch
BEST_FACTOR = 1.2  # against its best batch

Key = tuple[str, str, int]  # arm, work, batch


def main() -> int:
    quick = quick_asked()
    a_slice = QUICK_ITEMS_A_SLICE if quick else ITEMS_A_SLICE
    batches = QUICK_BATCHES if quick else BATCHES
    counts = {work: len(items_of(work, a_slice)) for work in WORKS}
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.gguf"
        convert(ensure_converter(settings().cache), PILOT / "model", reference)
        turns, loads = take_turns(reference, a_slice, batches, QUICK_REPEATS if quick else REPEATS)
    figures = {key: figures_of(found, counts[key[1]]) for key, found in turns.items()}
    agreement = {work: agreement_of(turns, work) for work in WORKS}
    return show(figures, loads, agreement, counts)


def take_turns(
    reference: Path, a_slice: int, batches: Mapping[str, Sequence[int]], repeats: int
) -> tuple[dict[Key, list[Turn]], dict[str, dict[str, float]]]:
    """Every turn by what was asked, and what each runtime took to start. The arms take turns batch by batch."""
    job = {"items_a_slice": a_slice, "reference": str(reference)}
    turns: dict[Key, list[Turn]] = {}
    with Arm("HFLM", job) as hflm, Arm("llama.cpp", job) as llama:
        for repeat in range(repeats):
            for work in WORKS:
                asked = [(arm, batch) for arm in (hflm, llama) for batch in batches[arm.name]]
                for arm, batch in asked if repeat % 2 == 0 else reversed(asked):
                    turns.setdefault((arm.name, work, batch), []).append(arm.turn(work, batch))
        return turns, {arm.name: arm.load for arm in (hflm, llama)}


def figures_of(turns: Sequence[Turn], items: int) -> dict[str, float]:
    """The best turn: milliseconds an item."""
    return {
        "cpu_ms": 1000 * min(turn.cpu_seconds for turn in turns) / items,
        "wall_ms": 1000 * min(turn.wall_seconds for turn in turns) / items,
        "slowest_cpu_ms": 1000 * max(turn.cpu_seconds for turn in turns) / items,
    }


def agreement_of(turns: Mapping[Key, Sequence[Turn]], work: str) -> dict[str, float]:
    """Percent of answers and scores equal to HFLM's at its default batch, the worst of llama.cpp's batches."""
    said = turns["HFLM", work, DEFAULT_BATCH][0]
    ours = [turn for (arm, of, _), found in turns.items() if (arm, of) == ("llama.cpp", work) for turn in found]
    return {
        "answers_percent": min(percent_equal(said.responses, turn.responses) for turn in ours),
        "scores_percent": min(percent_equal(said.scores, turn.scores) for turn in ours),
    }


def percent_equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    assert one.keys() == other.keys()
    return 100 * sum(other[name] == value for name, value in one.items()) / len(one)


def show(
    figures: Mapping[Key, dict[str, float]],
    loads: Mapping[str, dict[str, float]],
    agreement: Mapping[str, dict[str, float]],
    counts: Mapping[str, int],
) -> int:
    print_table(
        ("not counted below", "imports s", "model s"),
        [(arm, load["import_seconds"], load["load_seconds"]) for arm, load in loads.items()],
    )
    goals = {}
    best: dict[str, dict[str, int]] = {}
    for work, title in TITLES.items():
        batches = {arm: [b for a, w, b in figures if (a, w) == (arm, work)] for arm in BATCHES}
        best[work] = {arm: min(found, key=lambda b: figures[arm, work, b]["cpu_ms"]) for arm, found in batches.items()}
        default, fastest = figures["HFLM", work, DEFAULT_BATCH], figures["HFLM", work, best[work]["HFLM"]]
        rows = []
        for arm, found in batches.items():
            for batch in found:
                one = figures[arm, work, batch]
                rows.append(
                    (
                        f"{arm}, batch {batch}", 1000 / one["cpu_ms"], one["cpu_ms"], default["cpu_ms"] / one["cpu_ms"],
                        fastest["cpu_ms"] / one["cpu_ms"], one["wall_ms"], default["wall_ms"] / one["wall_ms"],
                    )
                )  # fmt: skip
        print(f"\n{title}: {counts[work]} items, the best turn; ratios: how many times as fast")
        header = ("", "items/s", "ms/item", "batch 1 ratio", "best ratio", "wall ms", "wall ratio")
        print_table(header, [[f"{c:.2f}" if isinstance(c, float) else c for c in row] for row in rows])
        ours = figures["llama.cpp", work, best[work]["llama.cpp"]]["cpu_ms"]
        goals[f"{work}_against_default_batch"] = at_least(default["cpu_ms"] / ours, FACTORS[work], "times")
        goals[f"{work}_against_best_batch"] = at_least(fastest["cpu_ms"] / ours, BEST_FACTOR, "times")
    worst = min(found["answers_percent"] for found in agreement.values())
    goals["identical_answers"] = at_least(worst, 99.0, "%")
    found = {
        "items": dict(counts),
        "context_tokens": CONTEXT_TOKENS,
        "loads": dict(loads),
        "best_batch": best,
        "agreement": dict(agreement),
        "turns": [{"arm": arm, "work": work, "batch": batch, **one} for (arm, work, batch), one in figures.items()],
    }
    return finish("harness_speed", found, goals)


if __name__ == "__main__":
    sys.exit(main())
