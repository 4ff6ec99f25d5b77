"""Is a mix's divergence known before it is ever measured? `python -m benchmarks.mix_prediction [--quick]`

A mix is chosen under one budget; then the same model of combined damage solves other budgets from what it knows, and only then
are those mixes made and measured, on the same text. The second round's mixes of the choice itself, which were predicted from the
first round's, stand in the table too. Promise: predictions within 15 % (root mean square; every one is shown). `--quick`: the
pilot, fewer budgets. `--model NAME`, `--folder PATH` (kept, so that a killed run goes on).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mixed_lab import QUICK, Effort, Lab, Model, models, open_lab
from benchmarks.report import at_most, finish, print_table
from quantplay.mixed.damage import prediction_error
from quantplay.mixed.mixes import tensor_types_of
from quantplay.plays.mixed_precision import solve_again
from quantplay.records import MixChoice

BITS = (2.8, 3.6, 4.6)  # a weight, of the budgets a mix is chosen under
QUICK_BITS = (3.6,)
NEARBY = (0.9, 0.95, 1.05, 1.1)  # other budgets, of the chosen one
QUICK_NEARBY = (0.95, 1.05)
GOAL = 0.15


def main(arguments: Sequence[str]) -> int:
    asked = parser().parse_args(arguments)
    known = models()
    names = [asked.model] if asked.model else ["pilot"] if asked.quick else list(known)
    started = time.perf_counter()
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            cases += predicted(known[name], Path(asked.folder or temporary) / name, quick=asked.quick)
    print_table(
        ("model, mix", "bytes", "predicted", "measured", "measured / predicted"),
        [[f"{case['model']}, {case['mix']}", *(case[key] for key in ("bytes", "predicted", "measured")), case["measured"] / case["predicted"]]
         for case in cases],
    )  # fmt: skip
    error = prediction_error([(case["predicted"], case["measured"]) for case in cases])
    assert error is not None
    within = sum(abs(case["measured"] / case["predicted"] - 1) <= GOAL for case in cases) / len(cases)
    worst = max(abs(case["measured"] / case["predicted"] - 1) for case in cases)
    print(f"\n{100 * within:.0f} % of {len(cases)} mixes within 15 %, the worst off by {100 * worst:.1f} %")
    figures = {
        "cases": cases,
        "within_share": within,
        "worst": worst,
        "seconds": round(time.perf_counter() - started, 1),
    }
    return finish("mix_prediction", figures, {"prediction_error": at_most(error, GOAL)})


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--model")
    options.add_argument("--folder")
    return options


def predicted(model: Model, folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    lab = open_lab(model, folder, QUICK if quick else Effort())
    weights = sum(group.weights for group in lab.sensitivity.groups)
    found = []
    for bits in QUICK_BITS if quick else BITS:
        budget = int(weights * bits / 8)
        choice = lab.choose(budget)
        found += [
            {"model": model.name, "mix": f"{bits} bits, {one.name}", "bytes": one.size_bytes,
             "predicted": one.predicted_nats, "measured": one.mean_kl_nats}
            for one in choice.measured if one.round > 1
        ]  # fmt: skip
        for share in QUICK_NEARBY if quick else NEARBY:
            found += elsewhere(lab, choice, int(budget * share), f"{bits} bits, at {100 * share:.0f} %")
    return found


def elsewhere(lab: Lab, choice: MixChoice, budget: int, name: str) -> list[dict[str, Any]]:
    """A mix for another budget: predicted, then measured for the first time. None where a known one is best."""
    other = solve_again(choice, budget)
    if other.mean_kl_nats is not None:
        return []
    measured = lab.divergence(tensor_types_of(other.groups, other.types))
    return [{"model": lab.model.name, "mix": name, "bytes": other.size_bytes, "predicted": other.predicted_nats,
             "measured": measured}]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
