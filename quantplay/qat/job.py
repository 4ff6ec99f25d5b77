"""The training as a job of quantplay.process: from files to the master weights and the record."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from quantplay import process
from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.transformers_model import load_tokenizer
from quantplay.evalset import read_items, read_texts
from quantplay.qat.data import dev_text, text_tokens, training_texts
from quantplay.qat.formats import Sources, format_of
from quantplay.qat.train import Lesson, train_weights
from quantplay.quantizers.importance import fixed_threads
from quantplay.records import Artifact, Recipe, Training, TrainingSettings

Report = Callable[[int, int, str], None]
PACKAGES = ("gguf", "llama-cpp-python", "numpy", "torch", "transformers", "tokenizers")  # what can change the weights


def train_job(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Job of quantplay.process. Returns the body of Training.

    payload: model (folder), model_content, reference (its full-precision file in the serving format; left out where nothing is
    converted), recipe (body: how the grid rounds), artifact (body:
    its types are the grid), calibration, data, data_content, gate, dev, heldout (files), settings (body), workdir (the checkpoint
    lies there; a job killed goes on from it), out (the master weights' file), kept (folder of importance matrices measured before; left
    out: workdir).
    """
    model, workdir, out = Path(payload["model"]), Path(payload["workdir"]), Path(payload["out"])
    settings = TrainingSettings.model_validate(payload["settings"])
    recipe, artifact = Recipe.model_validate(payload["recipe"]), Artifact.model_validate(payload["artifact"])
    dev = Path(payload["dev"])
    report(0, settings.steps, "reading the training texts")
    items = read_items(dev)
    samples = training_texts(
        Path(payload["data"]), {"the gate split": read_items(Path(payload["gate"])), "the dev split": items},
        read_texts(Path(payload["heldout"])),
    )  # fmt: skip
    tokenizer = load_tokenizer(model)
    texts = text_tokens(tokenizer, [sample.text for sample in samples], settings.row_tokens)
    sources = Sources(
        model=model, reference=Path(payload["reference"]) if payload.get("reference") else None,
        calibration=Path(payload["calibration"]), kept=Path(payload.get("kept") or workdir),
    )  # fmt: skip
    importance = format_of(artifact.format).importance(recipe, sources, report)
    body = {
        "artifact": artifact.sha256,
        "model": payload["model_content"],
        "data": payload["data_content"],
        "dev": digest_of_file(dev),
    }
    lesson = Lesson(
        sources=sources, serving_format=artifact.format, kinds=artifact.tensors, importance=importance,
        texts=texts, dev=dev_text(tokenizer, items, settings.row_tokens), settings=settings,
        identity=digest_of(
            {**body, "settings": settings.body(), "importance": recipe.importance_matrix, "versions": {one: metadata.version(one) for one in PACKAGES}}
        ),
    )  # fmt: skip
    with fixed_threads(settings.threads):
        result = train_weights(lesson, workdir=workdir, out=out, report=report)
    progress = result.progress
    return Training(
        **body, settings=settings, precision=result.precision, device=result.device, kinds=artifact.tensors, texts=len(texts),
        tokens=sum(len(text.tokens) for text in texts), tokens_seen=progress.tokens_seen, curve=tuple(progress.curve),
        steps_done=progress.step, chosen_step=progress.best_step, stopped_early=progress.stopped_early,
        weights=digest_of_file(out), size_bytes=out.stat().st_size, seconds=round(progress.seconds, 3),
        peak_resident_bytes=process.peak_resident_bytes(), peak_device_bytes=result.peak_device_bytes,
        micro_rows=progress.micro_rows,
    ).body()  # fmt: skip
