"""Every method over every architecture: quantize, save, load again, evaluate, make again. `python -m benchmarks.method_matrix [TYPE ...]`.

The Llama is the pilot; the Qwen-, Mistral- and Gemma-like models are made here with random weights. All on the CPU, in plain
transformers. GPTQ files need the extra `gptq`, in an environment of its own (docs/formats.md): run this with that environment's Python.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from benchmarks.models import PILOT, TOKENIZER
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay import process
from quantplay.digest import digest_of
from quantplay.errors import QuantplayError
from quantplay.formats import TYPES, types_of
from quantplay.quantizers import method
from quantplay.quantizers.folder_recipe import HIGHER_PRECISION
from quantplay.records import Recipe

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Llama (pilot)": {},
    "Qwen-like": {"model_type": "qwen3", "head_dim": 64},
    "Mistral-like": {"model_type": "mistral", "head_dim": 64, "sliding_window": 64},
    "Gemma-like": {"model_type": "gemma3_text", "head_dim": 64, "sliding_window": 64},
}
SHAPE: dict[str, Any] = {
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 1024, "max_position_embeddings": 512, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": None,
}  # fmt: skip
STEPS = ("quantize", "save", "load again", "evaluate", "make again")
MOST_KL = 0.2  # nats a token on the pilot: what is broken is further away
MOST_KL_AT_8_BITS = 0.01  # a method that changes the model, as wrongly smoothed layers do, is further away
SAMPLES = 8
NOTHING = digest_of([])


def main() -> int:
    quick = quick_asked()
    names = ["Llama (pilot)"] if quick else list(ARCHITECTURES)
    asked = [word for word in sys.argv[1:] if not word.startswith("--")]
    kinds = asked or [
        kind for kind in types_of("transformers") if TYPES[kind].format != "gptq" or find_spec("gptqmodel")
    ]
    cells: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="method-matrix-") as top:
        for name in names:
            folder = make_model(name, Path(top) / name.split()[0].lower())
            started = time.perf_counter()
            payload = {"model": str(folder), "kinds": kinds, "folder": str(Path(top) / "out"), "quick": quick}
            cells |= {
                f"{name}: {kind}": cell
                for kind, cell in process.run("benchmarks.method_matrix:cells_job", payload, threads=1).value.items()
            }
            print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    rows = [
        (
            name,
            *("ok" if step in cell["done"] else "no" for step in STEPS),
            cell.get("kl", "-"),
            cell.get("bits", "-"),
            cell["seconds"],
        )
        for name, cell in cells.items()
    ]
    print_table(("architecture: type", *STEPS, "KL, nats", "bits a weight", "seconds"), rows)
    gaps = {name: cell["error"] for name, cell in cells.items() if "error" in cell}
    for name, error in gaps.items():
        print(f"\n{name}: {error}")
    if "GPTQ_INT4" not in kinds:
        print("\nGPTQ_INT4 was left out: the extra `gptq` is not installed here.")
    pilot = [cell for name, cell in cells.items() if name.startswith("Llama")]
    eight = [cell for name, cell in cells.items() if TYPES[name.rpartition(" ")[2]].nominal_bits == 8]
    goals = {
        "pilot_cells_that_fail": at_most(sum("error" in cell for cell in pilot), 0),
        "other_cells_that_fail": at_most(sum("error" in cell for cell in cells.values() if cell not in pilot), 0),
        "pilot_kl_nats": at_most(max(cell.get("kl", 99.0) for cell in pilot), MOST_KL, "nats"),
        "eight_bits_kl_nats": at_most(
            max((cell.get("kl", 99.0) for cell in eight), default=0.0), MOST_KL_AT_8_BITS, "nats"
        ),
    }
    return finish("method_matrix", {"cells": cells, "gaps": gaps, "types": kinds}, goals)


def make_model(name: str, folder: Path) -> Path:
    """The pilot as it is, or a small model of another architecture with random weights and the pilot's tokenizer."""
    if not ARCHITECTURES[name]:
        return PILOT / "model"
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(7)
    config = AutoConfig.for_model(**(SHAPE | ARCHITECTURES[name]))
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    for file in TOKENIZER:
        shutil.copy(PILOT / "model" / file, folder / file)
    return folder


def cells_job(payload: Mapping[str, Any], _report: Any) -> dict[str, Any]:
    """One architecture, every type: {type: {"done": steps, "seconds", "bits", "kl"; "error" where a step failed}}.

    One process for all: importing the libraries takes longer than the work.
    """
    found = {}
    for kind in payload["kinds"]:
        started, cell = time.perf_counter(), {"done": []}
        try:
            one_cell(kind, payload, cell)
        except (QuantplayError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, ImportError) as error:
            cell["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        found[kind] = cell | {"seconds": round(time.perf_counter() - started, 1)}
    return found


def one_cell(kind: str, payload: Mapping[str, Any], cell: dict[str, Any]) -> None:
    """Every step of one cell; `cell` learns which are done."""
    model, folder = Path(payload["model"]), Path(payload["folder"])
    first, second = folder / f"{kind}-first.tar", folder / f"{kind}-second.tar"
    job = {
        "recipe": recipe_of(kind).body(),
        "model": str(model),
        "calibration": str(PILOT / "calibration" / "traffic.jsonl"),
    }
    quantize = method(TYPES[kind].format).quantize_job
    made = quantize(job | {"out": str(first)}, lambda *_: None)
    cell["done"] += ["quantize", "save"]  # every layer was found quantized in the saved file, or nothing would be there
    cell["bits"] = made["bits_per_weight"]
    evaluate(model, first, cell, quick=payload["quick"])
    again = quantize(job | {"out": str(second)}, lambda *_: None)
    if again["sha256"] != made["sha256"]:
        raise ValueError(f"made again, other bytes came out: {made['sha256'][:12]} and {again['sha256'][:12]}")
    cell["done"].append("make again")


def evaluate(model: Path, artifact: Path, cell: dict[str, Any], *, quick: bool) -> None:
    """Load both in plain transformers, compare their distributions, and answer some items."""
    from quantplay.evalset import read_items, read_texts
    from quantplay.harness.divergence import measure_divergence
    from quantplay.harness.quality import measure
    from quantplay.plan import Decoding

    texts = [sample.text for sample in read_texts(PILOT / "heldout" / "text.jsonl")][: 4 if quick else 16]
    apart = measure_divergence(model, artifact, texts, context_tokens=64, threads=1, runtime="transformers")
    cell["done"].append("load again")
    cell["kl"] = round(apart.mean_kl_nats, 5)
    items = read_items(PILOT / "evaluation" / "gate.jsonl")[:: 300 if quick else 100]
    answered = measure(
        runtime="transformers", model=artifact, items=items, decoding=Decoding(max_tokens=8), batch=len(items), threads=1,
        context_tokens=256,
    )  # fmt: skip
    if not isfinite(apart.mean_kl_nats) or len(answered.items) != len(items):
        raise ValueError(f"{len(answered.items)} of {len(items)} items answered, divergence {apart.mean_kl_nats}")
    cell["done"].append("evaluate")


def recipe_of(kind: str) -> Recipe:
    serving = TYPES[kind]
    return Recipe(
        format=serving.format, type=kind, method=method(serving.format).METHODS[kind], bits_per_weight=serving.bits_per_weight,
        bits_activations=16, group_size=serving.group_size, importance_matrix=False, tensor_types={},
        higher_precision=HIGHER_PRECISION, model=NOTHING, calibration=NOTHING, calibration_samples=SAMPLES,
        calibration_tokens=64, seed=0, threads=1, versions={}, converter=NOTHING,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
