"""One model on a team's own tasks, without a plan and without a comparison: the shared harness by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from quantplay import evalset, process
from quantplay.engines.model_file import SUFFIX
from quantplay.errors import InputError
from quantplay.formats import SERVERS
from quantplay.harness.server_command import require_runtime
from quantplay.plan import Decoding
from quantplay.process import Report
from quantplay.records import Digest, ItemResult, Performance, Record
from quantplay.stats import design_effect
from quantplay.stats.paired import quantile

Runtime = Literal["transformers", "llama.cpp", "llama.cpp-server", "vllm"]
CONFIDENCE = 0.95


class SliceScore(Record):
    """Mean score of one slice, in points, with a two-sided interval."""

    slice: str
    items: int
    documents: int
    score: float
    low: float
    high: float


class AloneReport(Record):
    """What one model did."""

    model: str
    runtime: Runtime
    precision: str
    harness: Digest  # equal digests: the same questions asked and scored in the same way
    batch: int
    threads: int
    seconds: float  # of the whole evaluation, loading included
    items_per_second: float
    peak_resident_bytes: int
    overall: SliceScore
    slices: tuple[SliceScore, ...]
    performance: Performance | None  # only where asked for; of a server as its clients see it
    items: tuple[ItemResult, ...]


def measure_alone(
    model: Path,
    files: Sequence[Path],
    *,
    runtime: Runtime | None,
    batch: int,
    decoding: Decoding,
    context_tokens: int,
    threads: int,
    speed: bool = False,
    allow_code: Sequence[str] = (),
    tokenizer: Path | None = None,
    on_progress: Report | None = None,
) -> AloneReport:
    """Evaluate `model` on `files` (items as JSONL, lm-eval tasks as YAML), each in a child process.

    A server (`llama.cpp-server`, `vllm`) gets `batch` requests at once; one of a .gguf file needs the folder of its `tokenizer`.
    Raises InputError for a model, a runtime or files that can't be used.
    """
    from quantplay.harness.quality import harness_digest

    chosen = runtime_for(model, runtime)
    if model.is_dir():
        evalset.model_files(model, quantized=True)
        evalset.require_finite_weights(model)
    if chosen in SERVERS:
        require_runtime(chosen)
        if tokenizer is None and not model.is_dir():
            raise InputError(
                "a served .gguf file needs its tokenizer, to count tokens", fix="--tokenizer FOLDER of the source model"
            )
    if speed and chosen == "transformers":
        raise InputError(
            "speed is measured in the serving runtime", value=chosen, allowed="a .gguf file, or --runtime vllm"
        )
    items = [file for file in files if file.suffix not in (".yaml", ".yml")]
    tasks = [file for file in files if file.suffix in (".yaml", ".yml")]
    prompts = [item.prompt for item in evalset.read_item_files(items)] if items else []
    determining = [*items, *(file for task in tasks for file in evalset.read_task_file(task, allow_code).files)]
    named = {f"{number}/{file.name}": file for number, file in enumerate(determining)}
    pinned = evalset.manifest_of_files("evaluation", named, ", ".join(str(file) for file in files))
    payload = {
        "runtime": chosen, "model": str(model), "files": [str(file) for file in items],
        "tasks": [str(task) for task in tasks], "allow_code": list(allow_code), "decoding": decoding.body(),
        "batch": batch, "threads": threads, "order_seed": None, "context_tokens": context_tokens, "gold_loss_ids": [],
        "tokenizer": str(tokenizer) if tokenizer is not None else None,
    }  # fmt: skip
    done = process.run("quantplay.harness.quality:evaluate_job", payload, threads=threads, on_progress=on_progress)
    results = tuple(ItemResult.model_validate(item) for item in done.value["items"])
    performance = None
    if speed and not prompts:
        raise InputError("speed needs items as JSONL, whose prompts fill the context", value="task files alone")
    if speed:
        from quantplay.harness.speed import measure_speed

        measured = measure_speed(
            {"model": model},
            prompts,
            context_tokens=context_tokens,
            batch=batch,
            threads=threads,
            runtime=chosen,
            tokenizer=tokenizer,
            on_progress=on_progress,
        )
        performance = measured["model"]
    return AloneReport(
        model=str(model), runtime=chosen, precision=done.value["precision"],
        harness=harness_digest(pinned.content, decoding, {"context_tokens": context_tokens}),
        batch=batch, threads=threads, seconds=done.seconds, items_per_second=len(results) / done.seconds,
        peak_resident_bytes=done.peak_resident_bytes, overall=score_of("all", results),
        slices=tuple(score_of(name, [r for r in results if r.slice == name]) for name in dict.fromkeys(r.slice for r in results)),
        performance=performance, items=results,
    )  # fmt: skip


def runtime_for(model: Path, asked: Runtime | None) -> Runtime:
    """The runtime a model is made for. Raises InputError where there is none, or another one was asked for."""
    if model.is_dir():
        fits: tuple[Runtime, ...] = ("transformers", "vllm")
    elif model.suffix == ".gguf" and model.is_file():
        fits = ("llama.cpp", "llama.cpp-server")
    elif model.suffix == SUFFIX and model.is_file():
        fits = ("transformers", "vllm")
    else:
        raise InputError(
            "there is no such model" if not model.exists() else "this file is no model we can load",
            value=model,
            allowed=f"a folder with safetensors, or an artifact's {SUFFIX} that holds one (transformers), or a .gguf file (llama.cpp)",
        )
    if asked is not None and asked not in fits:
        raise InputError(
            "this runtime can't load this model",
            value=f"{asked} with {model}",
            allowed=" or ".join(fits),
            fix="leave --runtime out, or convert the model first",
        )
    return asked or fits[0]


def score_of(name: str, results: Sequence[ItemResult]) -> SliceScore:
    """Mean and Wilson's score interval; documents with several items count for less.

    Graded scores take the same interval: no score in [0, 1] spreads more than right-or-wrong with the same mean.
    Source: E. B. Wilson, JASA 22 (1927) 209-212.
    """
    scores, documents = [result.score for result in results], [result.cluster for result in results]
    mean = math.fsum(scores) / len(scores)
    count = len(scores) / design_effect([score - mean for score in scores], documents)
    z = quantile((1 - CONFIDENCE) / 2)
    centre = (mean + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(mean * (1 - mean) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return SliceScore(
        slice=name, items=len(scores), documents=len(set(documents)), score=100 * mean,
        low=100 * max(0.0, min(mean, centre - half)), high=100 * min(1.0, max(mean, centre + half)),
    )  # fmt: skip
