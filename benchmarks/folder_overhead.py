"""What does play 3 add to llm-compressor and bitsandbytes? `python -m benchmarks.folder_overhead [--quick] [--billion] [TYPE ...]`

A model with random weights, made for this (0.52 billion parameters; `--billion`: 1.52 billion; `--quick`: one layer of the
smaller one and two types), quantized by the play's job and by the library alone: load the model, call the library as its own
examples do, save. Each in a fresh process of one thread, taken in turns; the least processor time of the turns counts. What the play does
beside it: checks of the source, of memory and of the disk before, every layer looked for in the saved file, one file with one digest. Promise: at most
1.1 times the library's time (`--quick`: 1.5 times, because checks and imports count for more there), and memory within 1.1 times.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.large_model import BILLION, HALF_BILLION, save_large_model
from benchmarks.models import PILOT
from benchmarks.ptq_arms import Cost, job_cost, read_through
from benchmarks.report import Goal, at_most, finish, print_table, quick_asked
from quantplay.formats import TYPES, types_of
from quantplay.process import Report
from quantplay.quantizers import METHODS
from quantplay.quantizers.folder_recipe import HIGHER_PRECISION
from quantplay.records import Recipe

QUICK_TYPES = ("FP8_DYNAMIC", "BNB_INT8")
MOST, QUICK_MOST = 1.1, 1.5
REPEATS = 3
TEXTS, TOKENS = 8, 64
NOTHING = "0" * 64


def main() -> int:
    quick = quick_asked()
    shape = BILLION | {"num_hidden_layers": 24} if "--billion" in sys.argv else HALF_BILLION
    asked = [word for word in sys.argv[1:] if not word.startswith("--")]
    known = [kind for kind in types_of("transformers") if TYPES[kind].format in ("compressed-tensors", "bitsandbytes")]
    kinds = asked or (QUICK_TYPES if quick else known)
    figures: dict[str, Any] = {}
    goals: dict[str, Goal] = {}
    with tempfile.TemporaryDirectory(prefix="folder-overhead-") as top:
        model = Path(top) / "model"
        parameters = save_large_model(model, layers=1 if quick else shape["num_hidden_layers"], shape=shape)
        print(f"{parameters / 1e9:.3f} billion parameters, 1 thread, the best of {REPEATS} turns\n")
        for kind in kinds:
            best = compare(kind, model, Path(top))
            play, library = best["play"], best["library"]
            figures[kind] = {name: asdict(cost) for name, cost in best.items()}
            limit = QUICK_MOST if quick else MOST
            goals[f"{kind}_time"] = at_most(play.cpu_seconds / library.cpu_seconds, limit, "times")
            goals[f"{kind}_memory"] = at_most(play.peak_resident_bytes / library.peak_resident_bytes, limit, "times")
    rows = [
        (
            kind,
            name,
            f"{cost['cpu_seconds']:.1f}",
            f"{cost['wall_seconds']:.1f}",
            f"{cost['peak_resident_bytes'] / 2**20:.0f}",
        )
        for kind, arms in figures.items()
        for name, cost in arms.items()
    ]
    print_table(("type", "", "CPU s", "wall s", "peak MiB"), rows)
    return finish("folder_overhead", {"parameters": parameters, "types": figures}, goals)


def compare(kind: str, model: Path, top: Path) -> dict[str, Cost]:
    recipe = recipe_of(kind)
    payload = {
        "recipe": recipe.body(), "model": str(model), "calibration": str(PILOT / "calibration" / "traffic.jsonl"),
        "out": str(top / "made.tar"),
    }  # fmt: skip
    targets = {
        "play": f"{METHODS[TYPES[kind].format]}:quantize_job",
        "library": "benchmarks.folder_overhead:library_job",
    }
    turns: dict[str, list[Cost]] = {name: [] for name in targets}
    for repeat in range(REPEATS):
        for name in targets if repeat % 2 else reversed(targets):
            read_through(*sorted(model.glob("*.safetensors")))
            turns[name].append(job_cost(targets[name], payload, 1))
            Path(payload["out"]).unlink(missing_ok=True)
    return {
        name: Cost(**{field: min(asdict(turn)[field] for turn in found) for field in asdict(found[0])})
        for name, found in turns.items()
    }


def recipe_of(kind: str) -> Recipe:
    """What the play's job needs to know; nothing here is recorded."""
    serving = TYPES[kind]
    calibrated = kind in ("W4A16", "W4A16_AWQ", "W8A8", "W8A16")
    return Recipe(
        format=serving.format, type=kind, method="benchmark", bits_per_weight=serving.bits_per_weight, bits_activations=16,
        group_size=serving.group_size, importance_matrix=False, tensor_types={}, higher_precision=HIGHER_PRECISION,
        model=NOTHING, calibration=NOTHING, calibration_samples=TEXTS if calibrated else 0,
        calibration_tokens=TOKENS if calibrated else 0, seed=1, threads=1, versions={}, converter=NOTHING,
    )  # fmt: skip


def library_job(payload: dict[str, Any], report: Report) -> None:
    """The library alone, as its examples do it: load, quantize, save."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    recipe, model, out = Recipe.model_validate(payload["recipe"]), payload["model"], f"{payload['out']}.library"
    torch.manual_seed(recipe.seed)
    with tempfile.TemporaryDirectory(prefix="library-", dir=Path(out).parent) as folder:
        if recipe.format == "bitsandbytes":
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                model, dtype=torch.bfloat16, quantization_config=BitsAndBytesConfig(load_in_8bit=True)
            )
        else:
            from llmcompressor.entrypoints.oneshot import oneshot

            from quantplay.quantizers.compressed_tensors import calibration, modifiers, unpinned

            loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
            texts = (
                calibration(recipe, Path(model), Path(payload["calibration"])) if recipe.calibration_samples else None
            )
            steps = modifiers(recipe.type, [name for name, _ in loaded.named_modules()])
            with unpinned():  # AWQ raises without it where there is no accelerator
                oneshot(model=loaded, tokenizer=model, recipe=steps, dataset=texts)
        loaded.save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
