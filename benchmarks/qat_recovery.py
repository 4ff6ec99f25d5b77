"""How much of what quantization broke does training win back? `python -m benchmarks.qat_recovery [--quick]`

Recovery, a slice: (trained - best untrained) / (full precision - best untrained), on the gate split, whose items are in no training
text; right answers through llama.cpp, every model in the type that breaks the pilot (plan-broken.yaml) and with that plan's training.
Best untrained: the better of that type with and without an importance matrix, slice by slice. Intervals: 90 %, percentile bootstrap
over documents, all models on the same ones. Control: the full-precision model trained on the same batches to predict the next token;
its score stands beside the full-precision one, so that what the texts alone teach is not sold as recovery, and recovery is also given
against it. Promise: at least 75 % of every slice that lost 5 points or more.

`--quick`: a few steps; without an importance matrix; promise: the divergence on the dev split falls by a quarter. Nothing is answered.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from benchmarks.qat_lab import PILOT, Lab, exactly, kinds_in
from benchmarks.report import Goal, at_least, at_most, finish, print_table, quick_asked
from quantplay.evalset import read_items
from quantplay.harness.quality import evaluate
from quantplay.plan import Decoding
from quantplay.quantizers.importance import calibration_texts, measure_importance
from quantplay.records import ItemResult, TrainingSettings

USUAL = {"steps": 120, "learning_rate": 5e-4, "rows": 16, "row_tokens": 256, "checkpoint_every": 20, "patience": 4}
"""Where the plan does not say otherwise."""
PROMISED = 0.75
LOST_POINTS = 5.0  # a slice that lost less has too little to win back for a ratio to mean anything
QUICK_STEPS, QUICK_LEFT = 8, 0.75
RESAMPLES, CONFIDENCE = 4_000, 0.90


def main() -> int:
    plan = yaml.safe_load((PILOT / "plan-broken.yaml").read_text(encoding="utf-8"))
    kind = plan["envelope"]["types"][0]
    asked = {key: value for key, value in plan.get("training", {}).items() if key != "file"}
    wanted = TrainingSettings(**(USUAL | asked), threads=1)
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        return quick(lab, kind, wanted) if quick_asked() else whole(lab, kind, wanted, plan)


def quick(lab: Lab, kind: str, wanted: TrainingSettings) -> int:
    few = {"steps": QUICK_STEPS, "checkpoint_every": QUICK_STEPS, "rows": 4}
    lesson = lab.lesson(kinds_in(lab.rounded(kind, "ptq")), wanted.model_copy(update=few), texts=100, dev_every=20)
    result, _ = lab.trained(lesson, "quick")
    before, after = result.progress.curve[0].dev_kl_nats, result.progress.curve[-1].dev_kl_nats
    print_table(
        ("steps", "divergence on dev, nats"), [(point.step, point.dev_kl_nats) for point in result.progress.curve]
    )
    figures = {"type": kind, "before_nats": before, "after_nats": after, "steps": QUICK_STEPS}
    return finish("qat_recovery", figures, {"divergence_left": at_most(after / before, QUICK_LEFT)})


def whole(lab: Lab, kind: str, wanted: TrainingSettings, plan: dict) -> int:
    texts = calibration_texts(PILOT / "calibration" / "traffic.jsonl", plan["calibration"]["samples"])
    matrix = measure_importance(lab.model, texts, tokens=plan["calibration"]["tokens"], threads=1)
    files = {
        "full precision": lab.reference,
        "PTQ with importance": lab.rounded(kind, "weighted", importance=matrix.values),
    }
    kinds = kinds_in(files["PTQ with importance"])
    files["PTQ"] = lab.rounded(kind, "plain", tensor_types=exactly(kinds))
    started = time.perf_counter()
    lesson = lab.lesson(kinds, wanted, importance=matrix.values)
    result, weights = lab.trained(lesson, "trained")
    seconds = time.perf_counter() - started
    files["QAT"] = lab.rounded(
        kind, "qat", source=lab.converted(weights, "trained"), importance=matrix.values, tensor_types=exactly(kinds)
    )
    control = wanted.model_copy(update={"objective": "next token", "steps": result.progress.step})
    untouched = lab.lesson(dict.fromkeys(kinds, "F32"), control)
    _, control_weights = lab.trained(untouched, "control")
    files["control"] = lab.converted(control_weights, "control")
    items = read_items(PILOT / "evaluation" / "gate.jsonl")
    arms = {
        name: evaluate(
            runtime="llama.cpp", model=file, items=items, decoding=Decoding.model_validate(plan["decoding"]), batch=64, threads=1,
            context_tokens=plan["envelope"]["context_tokens"],
        )
        for name, file in files.items()
    }  # fmt: skip
    figures, goals = compared(arms)
    curve = [(point.step, point.loss, point.dev_kl_nats, point.dev_top1) for point in result.progress.curve]
    print_table(("step", "loss, nats", "dev divergence, nats", "dev top-1"), curve)
    more = {
        "type": kind, "settings": wanted.body(), "curve": curve, "chosen_step": result.progress.best_step,
        "training_seconds": round(seconds, 1), "precision": result.precision,
        "bytes": {name: file.stat().st_size for name, file in files.items()},
    }  # fmt: skip
    return finish("qat_recovery", figures | more, goals)


def compared(arms: Mapping[str, Sequence[ItemResult]]) -> tuple[dict, dict[str, Goal]]:
    """The table, its figures, and the goals."""
    slices = list(dict.fromkeys(item.slice for item in arms["QAT"]))
    figures, goals, rows = {}, {}, []
    for name in slices:
        documents = [item.cluster for item in arms["QAT"] if item.slice == name]
        scores = {arm: np.array([item.score for item in items if item.slice == name]) for arm, items in arms.items()}
        best = max(("PTQ", "PTQ with importance"), key=lambda arm: scores[arm].mean())
        found, low, high = recovery(scores["QAT"], scores[best], scores["full precision"], documents)
        control, _, _ = recovery(scores["QAT"], scores[best], scores["control"], documents)
        lost = 100 * float(scores["full precision"].mean() - scores[best].mean())
        percents = {arm: 100 * float(values.mean()) for arm, values in scores.items()}
        rows.append((name, *percents.values(), 100 * found, f"{100 * low:.1f} to {100 * high:.1f}", 100 * control))
        figures[name] = {
            "percent_right": percents, "best_untrained": best, "lost_points": lost, "recovery": found, "low": low, "high": high,
            "recovery_against_control": control,
        }  # fmt: skip
        if lost >= LOST_POINTS:
            goals[f"recovery_{name}"] = at_least(found, PROMISED)
    print_table(("slice, % right", *arms, "recovery %", "90 % interval", "against control %"), rows)
    goals["slices_broken"] = at_least(len(goals), 1)
    return figures, goals


def recovery(
    trained: np.ndarray, untrained: np.ndarray, full: np.ndarray, documents: Sequence[str]
) -> tuple[float, float, float]:
    """The ratio of mean differences and its interval; whole documents are drawn, the same for all three."""
    names, index = np.unique(documents, return_inverse=True)
    won, lost = (np.bincount(index, weights=values - untrained) for values in (trained, full))
    estimate = ratio(won.sum(), lost.sum())
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    spread = [ratio(one, other) for one, other in zip(won[drawn].sum(axis=1), lost[drawn].sum(axis=1), strict=True)]
    low, high = np.quantile(spread, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return estimate, float(low), float(high)


def ratio(won: float, lost: float) -> float:
    """Nothing lost and nothing won counts as whole."""
    return float(won / lost) if lost > 0 else 1.0


if __name__ == "__main__":
    sys.exit(main())
