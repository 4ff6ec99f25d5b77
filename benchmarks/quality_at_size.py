"""How much better is a mix than what llama.cpp offers at the same size? `python -m benchmarks.quality_at_size [--quick]`

For every size of llama.cpp's own mixes from the 2-bit ones to Q4_K_M: the mix chosen under that very number of bytes, against the
better of all of llama.cpp's mixes and uniform types that are no larger, all with the same importance matrix. The judge is
llama.cpp's own perplexity tool over held-out text. Promise: 25 % lower divergence, geometric mean over sizes and models, at the same
or fewer bytes. `--quick`: the pilot at two sizes. `--model NAME`, `--sizes Q2_K,Q4_K_M`, `--folder PATH` (kept, so that
a killed run goes on).
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.llama_tools import build
from benchmarks.mixed_lab import QUICK, Effort, Judge, Lab, Model, models, open_lab
from benchmarks.report import at_most, finish, print_table
from quantplay.formats import TYPES
from quantplay.mixed.allocate import uniform_mixes
from quantplay.mixed.damage import costs
from quantplay.mixed.gguf_mixes import FTYPE
from quantplay.mixed.mixes import tensor_types_of
from quantplay.plays.mixed_precision import solve_again
from quantplay.records import MixChoice
from quantplay.settings import settings

SIZES = (
    "IQ2_XXS", "IQ2_XS", "IQ2_M", "Q2_K_S", "Q2_K", "IQ3_XXS", "Q3_K_S", "IQ3_S", "IQ3_M", "Q3_K_M", "Q3_K_L", "IQ4_XS",
    "IQ4_NL", "Q4_K_S", "Q4_K_M",
)  # fmt: skip
QUICK_UNIFORM = ("Q2_K", "Q3_K", "Q4_K")
QUICK_SIZES = ("Q2_K", "Q3_K_M")
GOAL = 0.75


def main(arguments: Sequence[str]) -> int:
    asked = parser().parse_args(arguments)
    known = models()
    names = [asked.model] if asked.model else ["pilot"] if asked.quick else list(known)
    started = time.perf_counter()
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            sizes = asked.sizes or (QUICK_SIZES if asked.quick else SIZES)
            cases += compared(known[name], Path(asked.folder or temporary) / name, sizes, quick=asked.quick)
    show(cases)
    logs = [math.log(case["ratio"]) for case in cases]
    mean, low, high = geometric(logs)
    by_model = {
        name: geometric([math.log(case["ratio"]) for case in cases if case["model"] == name])[0] for name in names
    }
    print(
        f"\nDivergence over the better rival's: {mean:.3f} (95 % interval {low:.3f} to {high:.3f}, {len(cases)} sizes)"
    )
    figures = {"cases": cases, "ratio": mean, "ratio_low": low, "ratio_high": high, "by_model": by_model,
               "seconds": round(time.perf_counter() - started, 1)}  # fmt: skip
    larger = sum(case["bytes"] > case["size"] for case in cases)
    return finish(
        "quality_at_size", figures, {"divergence_over_best_rival": at_most(mean, GOAL), "files_over_size": at_most(larger, 0)}
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--model")
    options.add_argument("--sizes", type=lambda text: tuple(text.split(",")))
    options.add_argument("--folder")
    return options


def compared(model: Model, folder: Path, sizes: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
    """One row a size."""
    lab = open_lab(model, folder, QUICK if quick else Effort())
    judge = Judge(program=build("perplexity", settings().cache), lab=lab)
    judge.prepare()
    rivals = {name: judged(lab, judge, {}, TYPES[name].ftype or FTYPE) for name in sizes}
    if quick:  # one budget measured, the others solved again from it
        first = lab.choose(rivals[sizes[-1]][0])
        choices = {name: solve_again(first, size) for name, (size, _) in rivals.items()}
    else:
        choices = {name: lab.choose(size) for name, (size, _) in rivals.items()}
    groups, fit = next((choice.groups, choice.fit) for choice in choices.values())
    uniform = {
        f"uniform {next(iter(mix.values()))}": judged(lab, judge, tensor_types_of(groups, mix))
        for mix in uniform_mixes(costs(groups, fit))
        if not quick or next(iter(mix.values())) in QUICK_UNIFORM
    }
    return [row(lab, judge, name, choice, rivals | uniform) for name, choice in choices.items()]


def row(lab: Lab, judge: Judge, name: str, choice: MixChoice, rivals: dict[str, tuple[int, float]]) -> dict[str, Any]:
    limit = choice.budget_bytes
    ftype = FTYPE if choice.types else TYPES[choice.type].ftype or FTYPE
    size, divergence = judged(lab, judge, tensor_types_of(choice.groups, choice.types) if choice.types else {}, ftype)
    best = min((found, other) for other, (bytes_, found) in rivals.items() if bytes_ <= limit)
    return {"model": lab.model.name, "like": name, "size": limit, "bytes": size, "divergence": divergence,
            "llama_cpp": rivals[name][1], "best_rival": best[1], "best_rival_divergence": best[0],
            "ratio": divergence / best[0], "on_dev": choice.mean_kl_nats, "chosen": choice.name}  # fmt: skip


def judged(lab: Lab, judge: Judge, tensor_types: dict[str, str], ftype: int = FTYPE) -> tuple[int, float]:
    """Bytes and divergence of a file that is made, judged and deleted."""
    file = lab.folder / "judged.gguf"
    try:
        return lab.make(file, tensor_types, ftype), judge.divergence(file)
    finally:
        file.unlink(missing_ok=True)


def geometric(logs: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean with its 95 % interval by Student's t over the logarithms."""
    from scipy.stats import t

    mean = statistics.fmean(logs)
    half = float(t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / len(logs) ** 0.5 if len(logs) > 1 else 0.0
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def show(cases: Sequence[dict[str, Any]]) -> None:
    header = ("model, size of", "bytes", "ours", "divergence", "that mix's", "best rival", "divergence", "ratio")
    print_table(header, [
        [f"{case['model']}, {case['like']}", case["size"], case["bytes"], case["divergence"], case["llama_cpp"],
         case["best_rival"], case["best_rival_divergence"], case["ratio"]]
        for case in cases
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
