"""A job for a child process: the whole of a training for compressed-tensors, because importing llm-compressor takes longer than it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from quantplay.plays.qat import grid_recipe, trained_recipe
from quantplay.qat.export import export_job
from quantplay.qat.job import train_job
from quantplay.qat.served import Served, grids_of, parts_of
from quantplay.quantizers.compressed_tensors import quantize_job
from quantplay.records import Artifact, Recipe, Training


def trained(payload: dict[str, Any], report: Any) -> dict[str, Any]:
    """payload: recipe, model, calibration, dev, heldout, settings, folder. What was short, the training, what was served and its recipe."""
    folder, recipe = Path(payload["folder"]), Recipe.model_validate(payload["recipe"])
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: payload[name] for name in ("model", "calibration")}
    short = Artifact.model_validate(
        quantize_job({"recipe": recipe.body(), "out": str(folder / "short.tar"), **files}, report)
    )
    weights = folder / "weights.safetensors"
    lesson = {
        "model_content": "0" * 64, "recipe": grid_recipe(recipe, short).body(), "artifact": short.body(), "gate": payload["dev"],
        "data": payload["calibration"], "data_content": "0" * 64, "workdir": str(folder / "work"), "out": str(weights),
    }  # fmt: skip
    training = Training.model_validate(train_job({**payload, **lesson}, report))
    made_by = trained_recipe(recipe, short, training)
    where = {"weights": str(weights), "out": str(folder / "served.tar"), "cache": str(folder), "scratch": str(folder)}
    served = export_job({"recipe": made_by.body(), **files, **where}, report)
    replayed = quantize_job({"recipe": made_by.body(), **files, **where, "out": str(folder / "again.tar")}, report)
    return {
        "short": short.body(), "training": training.body(), "recipe": made_by.body(), "served": served, "again": replayed,
        "library": library_rounding(weights, payload["model"], folder / "library"),
        "unlike": numbers_unlike(Path(payload["model"]), weights, Artifact.model_validate(served), folder / "served.tar"),
    }  # fmt: skip


def library_rounding(weights: Path, model: str, out: Path) -> str:
    """The trained weights rounded by llm-compressor's preset in float32; the folder."""
    from llmcompressor.entrypoints.oneshot import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier

    from quantplay.digest import digest_of_file
    from quantplay.engines.transformers_model import load_model
    from quantplay.quantizers.trained import trained_folder

    with trained_folder(Path(model), weights, digest_of_file(weights), out.parent) as folder:
        loaded = load_model(folder)
        oneshot(model=loaded, recipe=[QuantizationModifier(scheme="W4A16", targets=["Linear"], ignore=["lm_head"])])
        loaded.save_pretrained(str(out), save_compressed=True)
    return str(out)


def numbers_unlike(model: Path, weights: Path, served: Artifact, file: Path) -> dict[str, int]:
    """Parameter -> numbers that plain transformers computes with after loading `file`, and the student did not at its last step."""
    import torch

    from quantplay.engines.model_file import model_folder
    from quantplay.engines.transformers_model import load_model
    from quantplay.qat.formats import Sources, format_of

    student: Any = load_model(model)
    sources = Sources(model=model, reference=None, calibration=model, kept=model)
    places = format_of(served.format).places(student, sources, served.tensors)
    masters = load_file(weights)
    with ThreadPoolExecutor(1) as pool:
        Served(student, masters, parts_of(places, grids_of(places, served.format, {})), pool).refresh()
    with model_folder(file) as folder, torch.inference_mode():
        loaded: Any = load_model(folder)
        loaded(torch.arange(4)[None])  # unpacks
    found = dict(loaded.named_parameters())
    return {name: int((one != found[name]).sum()) for name, one in student.named_parameters()}


def peak_of_training(payload: dict[str, Any], report: Any) -> int:
    """payload: folder with `model/`, settings (JSON). Trains on random tokens towards W4A16; bytes of this process at its peak."""
    import json

    import numpy as np

    from quantplay import process
    from quantplay.digest import digest_of
    from quantplay.evalset.weights import read_header
    from quantplay.qat.data import TextTokens, pack
    from quantplay.qat.formats import Sources
    from quantplay.qat.train import Lesson, train_weights
    from quantplay.records import TrainingSettings

    folder = Path(payload["folder"])
    settings = TrainingSettings.model_validate(json.loads(payload["settings"]))
    names = read_header(folder / "model" / "model.safetensors")
    random = np.random.default_rng(0)
    texts = [TextTokens(random.integers(3, 500, settings.row_tokens).tolist()) for _ in range(2 * settings.rows)]
    lesson = Lesson(
        sources=Sources(model=folder / "model", reference=None, calibration=folder, kept=folder), serving_format="compressed-tensors",
        kinds={name: "W4A16" if name.endswith("_proj.weight") else "F32" for name in names}, importance={}, texts=texts,
        dev=pack(texts[:4], settings.row_tokens), settings=settings, identity=digest_of([settings.body()]),
    )  # fmt: skip
    train_weights(lesson, workdir=folder / "work", out=folder / "out.safetensors", report=report)
    return process.peak_resident_bytes()


def peak_of_scan(payload: dict[str, Any], report: Any) -> int:
    """payload: folder with `model/`, sequences, tokens, types. Scans random tokens; bytes of this process at its peak."""
    import numpy as np

    from quantplay import process
    from quantplay.evalset.weights import read_header
    from quantplay.mixed.folder_served import FolderServed
    from quantplay.mixed.sensitivity import ScanSettings, scan
    from quantplay.mixed.simulate import Simulator

    folder = Path(payload["folder"])
    names = [name for name in read_header(folder / "model" / "model.safetensors") if name.endswith("_proj.weight")]
    served = FolderServed(
        folder / "model", folder / "model" / "model.safetensors", [name.removesuffix(".weight") for name in names]
    )
    rows = np.random.default_rng(0).integers(3, 500, (payload["sequences"], payload["tokens"]))
    scan(Simulator(folder / "model", served, rows, threads=1), ScanSettings(types=tuple(payload["types"])))
    return process.peak_resident_bytes()
