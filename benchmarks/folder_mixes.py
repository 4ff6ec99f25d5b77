"""What does a mix of 8 and 4 bits win in a format that is a folder? `python -m benchmarks.folder_mixes [--quick]`

For budgets between the files of W4A16 and W8A16: the mix chosen under that many bytes, against the best file of one type that is no
larger, both made by llm-compressor and judged in plain transformers on held-out text that nothing else has seen. Beside it what
was predicted of the mix on the dev text and what was measured there. Promise: 25 % lower divergence, geometric mean, at no more
bytes. `--quick`: the pilot, one budget. `--model NAME`, `--folder PATH` (kept, so that a killed run goes on).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.method_matrix import recipe_of
from benchmarks.mixed_lab import Model, models
from benchmarks.report import at_most, finish, print_table
from quantplay import process
from quantplay.engines.model_file import write_model_file
from quantplay.evalset import model_files, read_texts
from quantplay.harness.divergence import measure_divergence
from quantplay.mixed.assemble import assemble
from quantplay.mixed.folder_mixes import FolderMixes, mix_recipe
from quantplay.mixed.rows import matrix_samples
from quantplay.plays.mixed_precision import choose
from quantplay.quantizers.layer_types import quantized_layers
from quantplay.records import Artifact, Recipe

SHARES = (0.15, 0.3, 0.5, 0.75)  # of the way from the file of W4A16 to that of W8A16
QUICK_SHARES = (0.3,)
CONTEXT_TOKENS = 256
GOAL = 0.75
JOB = "quantplay.quantizers.compressed_tensors:quantize_job"


def main(arguments: Sequence[str]) -> int:
    asked = parser().parse_args(arguments)
    known, started = models(), time.perf_counter()
    names = [asked.model] if asked.model else ["pilot"] if asked.quick else list(known)
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            cases += compared(known[name], Path(asked.folder or temporary) / name, quick=asked.quick)
    header = (
        "model, share of the way",
        "bytes allowed",
        "ours",
        "nats",
        "best of one type",
        "its nats",
        "ratio",
        "predicted on dev",
        "measured on dev",
    )
    keys = ("budget", "bytes", "nats", "rival", "rival_nats", "ratio", "predicted", "on_dev")
    print_table(header, [[f"{case['model']}, {case['share']}", *(case[key] for key in keys)] for case in cases])
    mean = math.exp(sum(math.log(case["ratio"]) for case in cases) / len(cases))
    figures = {"cases": cases, "seconds": round(time.perf_counter() - started, 1)}
    larger = sum(case["bytes"] > case["budget"] for case in cases)
    return finish(
        "folder_mixes", figures, {"divergence_over_best_rival": at_most(mean, GOAL), "files_over_budget": at_most(larger, 0)}
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--model")
    options.add_argument("--folder")
    return options


def compared(model: Model, folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """One row a budget. Of the calibration file the first three quarters are GPTQ's, the last is the scan's and the mixes'."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [sample.text for sample in read_texts(model.calibration)]
    used, characters = matrix_samples(len(texts), len(texts)), 8_000 if quick else 60_000
    samples = min(used, 16 if quick else 128)
    recipe = recipe_of("W4A16").model_copy(
        update={"calibration_samples": samples, "calibration_tokens": CONTEXT_TOKENS}
    )
    reference, text, heldout = folder / "reference.tar", folder / "text.txt", folder / "heldout.txt"
    write_model_file(model.folder, reference, model_files(model.folder))
    text.write_text("\n".join(texts[used:])[:characters], encoding="utf-8")
    judged_on = "\n".join(sample.text for sample in read_texts(model.heldout))[:characters]
    heldout.write_text(judged_on, encoding="utf-8")

    def made(one: Recipe, name: str) -> tuple[Artifact, Path]:
        out = folder / f"{name}.tar"
        payload = {
            "recipe": one.body(),
            "model": str(model.folder),
            "calibration": str(model.calibration),
            "out": str(out),
        }
        return Artifact.model_validate(process.run(JOB, payload, threads=1).value), out

    def nats(file: Path) -> float:
        asked: dict[str, Any] = {"context_tokens": CONTEXT_TOKENS, "threads": 1, "runtime": "transformers"}
        return measure_divergence(reference, file, [judged_on], **asked).mean_kl_nats

    uniform = {}
    for kind in ("W4A16", "W8A16"):
        artifact, file = made(recipe.model_copy(update={"type": kind}), kind)
        uniform[kind] = (artifact, file, nats(file))
    short, short_file, _ = uniform["W4A16"]
    payload = {
        "model": str(model.folder), "reference": str(reference), "calibration": str(model.calibration), "samples": used,
        "sample_tokens": CONTEXT_TOKENS, "layers": list(quantized_layers(short.format, short.tensors)),
        "types": ["full", "W8A16", "W4A16"], "sequences": 4 if quick else 32, "tokens": CONTEXT_TOKENS, "threads": 1,
        "journal": str(folder / "scan.jsonl"),
    }  # fmt: skip
    scan = assemble([process.run("quantplay.mixed.sensitivity:scan_job", payload, threads=1).value])
    mixes = FolderMixes(
        scan, reference, model=model.folder, calibration=model.calibration, short=short, short_file=short_file, made_by=recipe,
    )  # fmt: skip
    rows = []
    for share in QUICK_SHARES if quick else SHARES:
        budget = round(short.size_bytes + share * (uniform["W8A16"][0].size_bytes - short.size_bytes))
        choice = choose(
            mixes, text=text, context_tokens=CONTEXT_TOKENS, short=short.sha256, short_type="W4A16", budget_bytes=budget,
            workdir=folder, threads=1,
        )  # fmt: skip
        types = choice.types or {group.group: choice.type for group in choice.groups}
        artifact, file = made(mix_recipe(recipe, choice.groups, types), "mix")
        found = nats(file)
        rival, rival_nats = min(
            ((kind, its) for kind, (one, _, its) in uniform.items() if one.size_bytes <= budget),
            key=lambda pair: pair[1],
        )
        rows.append({
            "model": model.name, "share": share, "budget": budget, "bytes": artifact.size_bytes, "nats": found, "rival": rival,
            "rival_nats": rival_nats, "ratio": found / rival_nats, "predicted": choice.predicted_nats,
            "on_dev": choice.mean_kl_nats, "eight_bits_nats": uniform["W8A16"][2], "scale": choice.fit.scale,
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
