"""How much cheaper is the sensitivity scan than an exhaustive one, and does it say the same?
`python -m benchmarks.scan_cost [--quick] [MODEL ...]`

Cost: block-forward-tokens against one full forward of the model a group and type. Promises: at least 10 times fewer on models of 16
and more blocks, 3 times on smaller ones; on models with 60 and more groups Spearman's rank correlation of the groups' damages with
those of the exhaustive scan of at least 0.95 and a recall of the worst third of at least 0.9, each the mean over the types.
The exhaustive scan measures every group as every type on all sequences (it restarts at the group's block too, which changes
nothing but its time). Models: the pilot and the trained ones of benchmarks/trained. `--quick`: the pilot, fewer types and less text.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import trained
from benchmarks.report import Goal, at_least, finish, print_table, quick_asked
from quantplay.engines.converter import convert, ensure_converter
from quantplay.evalset import read_texts
from quantplay.mixed.ggml_served import GgmlServed
from quantplay.mixed.interpolate import rank_agreement
from quantplay.mixed.rows import held_out_rows, matrix_samples
from quantplay.mixed.sensitivity import ScanSettings, measure_sensitivity
from quantplay.mixed.simulate import Simulator
from quantplay.quantizers.importance import measure_importance
from quantplay.records import Sensitivity
from quantplay.settings import settings

PILOT = Path(__file__).parents[1] / "examples" / "pilot"
LADDER = ("Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q3_K", "IQ3_XXS", "Q2_K", "IQ2_XS")
MANY_BLOCKS, MANY_GROUPS = 16, 60


@dataclass(frozen=True)
class Case:
    """A model with its calibration text."""

    name: str
    model: Path
    calibration: Path
    types: tuple[str, ...] = LADDER
    sequences: int = 32
    tokens: int = 128
    matrix_tokens: int = 256


def cases() -> list[Case]:
    pilot = Case("pilot", PILOT / "model", PILOT / "calibration" / "traffic.jsonl")
    if quick_asked():
        types = ("Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K")
        return [Case("pilot", pilot.model, pilot.calibration, types, sequences=16, tokens=64, matrix_tokens=64)]
    known = [pilot, *(Case(name, trained.folder(name), trained.CALIBRATION, tokens=64) for name in trained.NAMES)]
    asked = [name for name in sys.argv[1:] if not name.startswith("--")]
    return [case for case in known if not asked or case.name in asked]


def main() -> int:
    results, goals = [], {}
    for case in cases():
        result = compared(case)
        results.append(result)
        goals |= goals_of(result)
        print(json.dumps(result), file=sys.stderr, flush=True)  # long runs show what they have
    show(results)
    return finish("scan_cost", {"models": results}, goals)


def goals_of(result: Mapping[str, Any]) -> dict[str, Goal]:
    name = result["model"]
    found = {f"{name}_times_fewer": at_least(result["times_fewer"], 10 if result["blocks"] >= MANY_BLOCKS else 3)}
    if result["groups"] >= MANY_GROUPS:
        found[f"{name}_spearman"] = at_least(result["spearman"], 0.95)
        found[f"{name}_top_third_recall"] = at_least(result["top_third_recall"], 0.9)
    return found


def compared(case: Case) -> dict[str, Any]:
    """Both scans of one model on the same rows."""
    texts = [sample.text for sample in read_texts(case.calibration)]
    used = matrix_samples(len(texts), len(texts))
    rows = held_out_rows(case.model, texts[used:], sequences=case.sequences, tokens=case.tokens)
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.gguf"
        convert(ensure_converter(settings().cache), case.model, reference)
        importance = measure_importance(case.model, texts[:used], tokens=case.matrix_tokens, threads=1)
        simulator = Simulator(case.model, GgmlServed(reference, importance), rows, threads=1)
        started = time.perf_counter()
        found = measure_sensitivity(simulator, ScanSettings(types=case.types))
        scanned = time.perf_counter()
        damages = exhaustive(simulator, case.types)
        ended = time.perf_counter()
        ranked = None
        if len(simulator.groups) >= MANY_GROUPS:
            ranked = measure_sensitivity(simulator, ScanSettings(types=case.types, most_work=0))
    by_type = {kind: against(found, damages, kind) for kind in case.types}
    return {
        "model": case.name, "blocks": len(simulator.blocks), "groups": len(found.groups), "types": len(case.types),
        "sequences": found.sequences, "tokens": found.tokens, "scored_positions": found.positions,
        "block_forward_tokens": found.block_forward_tokens,
        "full_scan_block_forward_tokens": found.full_scan_block_forward_tokens,
        "times_fewer": found.full_scan_block_forward_tokens / found.block_forward_tokens,
        "spearman": statistics.fmean(one["spearman"] for one in by_type.values()),
        "spearman_worst_type": min(one["spearman"] for one in by_type.values()),
        "top_third_recall": statistics.fmean(one["recall"] for one in by_type.values()),
        "top_third_recall_worst_type": min(one["recall"] for one in by_type.values()),
        "median_relative_error": statistics.median(error for one in by_type.values() for error in one["errors"]),
        "in_95_percent_interval": statistics.fmean(hit for one in by_type.values() for hit in one["inside"]),
        "by_type": {kind: {"spearman": one["spearman"], "recall": one["recall"]} for kind, one in by_type.items()},
        "all_low_kl_nats": found.base_kl_nats, "seconds": round(scanned - started, 1),
        "exhaustive_seconds": round(ended - scanned, 1), "by_proxy": ranked and by_proxy(ranked, damages),
    }  # fmt: skip


def by_proxy(ranked: Sensitivity, damages: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """The same scan made to rank by the gradient proxy first, as for a model too large to measure every group."""
    worst = against(ranked, damages, ranked.types[-1])
    return {
        "agreement": ranked.proxy_agreement, "measured_groups": ranked.exact_groups,
        "times_fewer": ranked.full_scan_block_forward_tokens / ranked.block_forward_tokens,
        "spearman": worst["spearman"], "top_third_recall": worst["recall"],
    }  # fmt: skip


def exhaustive(simulator: Simulator, types: Sequence[str]) -> dict[tuple[str, str], float]:
    """(group, type) -> damage on all rows."""
    damages = {}
    for name, group in simulator.groups.items():
        kinds = [kind for kind in types if simulator.served.possible(group, kind)]
        found = simulator.damages([{name: kind} for kind in kinds])
        damages |= {(name, kind): damage.mean_nats for kind, damage in zip(kinds, found, strict=True)}
    return damages


def against(found: Sensitivity, damages: Mapping[tuple[str, str], float], kind: str) -> dict[str, Any]:
    """How the scan's damages of one type compare with the exhaustive ones."""
    groups = [group for group in found.groups if (group.group, kind) in damages]
    ours = [group.of(kind) for group in groups]
    truth = [damages[group.group, kind] for group in groups]
    third = round(len(groups) / 3)
    worst = sorted(range(len(groups)), key=lambda index: (-truth[index], groups[index].group))[:third]
    ranked = sorted(range(len(groups)), key=lambda index: (-ours[index].mean_kl_nats, groups[index].group))[:third]
    return {
        "spearman": rank_agreement([one.mean_kl_nats for one in ours], truth),
        "recall": len(set(worst) & set(ranked)) / third,
        "errors": [abs(one.mean_kl_nats / true - 1) for one, true in zip(ours, truth, strict=True) if true > 0],
        "inside": [one.low_nats <= true <= one.high_nats for one, true in zip(ours, truth, strict=True)],
    }


def show(results: Sequence[Mapping[str, Any]]) -> None:
    names = ("blocks", "groups", "types", "times_fewer", "spearman", "spearman_worst_type", "top_third_recall",
             "top_third_recall_worst_type", "median_relative_error", "seconds", "exhaustive_seconds")  # fmt: skip
    print_table(("model", *names), [[result["model"], *(result[name] for name in names)] for result in results])
    rows = [
        [result["model"], kind, one["spearman"], one["recall"]]
        for result in results
        for kind, one in result["by_type"].items()
    ]
    print()
    print_table(("model", "type", "spearman", "top-third recall"), rows)


if __name__ == "__main__":
    sys.exit(main())
