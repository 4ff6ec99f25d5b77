"""The team's own lm-eval task files as lm-eval tasks: data by absolute path, greedy decoding, templates in a sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from lm_eval import utils
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from quantplay.errors import InputError
from quantplay.evalset import TaskFile
from quantplay.harness.tasks import generation_arguments
from quantplay.plan import Decoding
from quantplay.records import ItemResult

FEWSHOT_SEED = 1234  # lm-eval's own default


def file_tasks(files: Sequence[TaskFile], decoding: Decoding, scratch: Path) -> dict[str, Task]:
    """Task name -> task. `scratch` takes the datasets library's cache, which must not outlive the run.

    Raises InputError when lm-eval can't build a task.
    """
    manager = TaskManager(include_defaults=False)
    tasks: dict[str, Task] = {}
    for file in files:
        config = lm_eval_config(file, decoding, scratch)
        try:
            task = next(iter(manager.load([config])["tasks"].values()))
        except Exception as error:
            raise InputError(
                f"lm-eval can't build the task: {type(error).__name__}: {error}",
                value=file.path,
                fix="correct the file; docs/evaluation-sets.md shows one that works",
            ) from error
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(FEWSHOT_SEED)
        tasks[file.name] = task
    return tasks


def lm_eval_config(file: TaskFile, decoding: Decoding, scratch: Path) -> dict[str, Any]:
    """What lm-eval gets: the file's fields, with everything that the plan or the place decides filled in."""
    config = load_yaml(file.path, resolve_func=True) if file.code else deepcopy(file.config)
    if not config.get("custom_dataset"):
        keywords = dict(config["dataset_kwargs"])
        keywords["data_files"] = absolute(keywords["data_files"], file.path.parent)
        config["dataset_kwargs"] = keywords | {"cache_dir": str(scratch)}
    if config.get("output_type", "generate_until") == "generate_until":
        config["generation_kwargs"] = generation_arguments(decoding) | (config.get("generation_kwargs") or {})
    return config


def absolute(files: Any, folder: Path) -> Any:
    """`data_files` with every path made absolute, whatever its shape (see evalset.taskfiles.data_names)."""
    if isinstance(files, dict):
        return {split: absolute(names, folder) for split, names in files.items()}
    if isinstance(files, list):
        return [absolute(name, folder) for name in files]
    return str((folder / files).resolve())


@contextmanager
def sandboxed_templates() -> Iterator[None]:
    """Let lm-eval render templates in Jinja's sandbox: its plain environment lets a template run any code."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    plain = utils.env
    sandbox = ImmutableSandboxedEnvironment(
        loader=plain.loader, undefined=plain.undefined, keep_trailing_newline=plain.keep_trailing_newline
    )
    sandbox.filters.update(plain.filters)
    utils.env = sandbox
    try:
        yield
    finally:
        utils.env = plain


def file_results(file: TaskFile, task: Task, samples: Sequence[dict[str, Any]]) -> list[ItemResult]:
    """A result for every document, in their order; `id`, `slice` and `document` are read from it where it has them."""
    first_filter = samples[0]["filter"]
    results = []
    for sample in samples:
        if sample["filter"] != first_filter:
            continue
        doc = sample["doc"]
        name = label(doc, "id", f"{file.name}-{sample['doc_id']}")
        results.append(
            ItemResult(
                id=name,
                slice=label(doc, "slice", file.name),
                cluster=label(doc, "document", name),
                score=score_of(file, sample, name),
                graded=file.graded,
                response=response_of(task, sample),
            )
        )
    return results


def label(doc: Any, key: str, default: str) -> str:
    value = doc.get(key) if isinstance(doc, dict) else None
    return default if value is None or str(value).strip() == "" else str(value)


def score_of(file: TaskFile, sample: dict[str, Any], name: str) -> float:
    value = sample.get(file.metric)
    if not isinstance(value, (bool, int, float, np.number)) or not 0 <= float(value) <= 1:
        raise InputError(
            f"the metric `{file.metric}` of the task `{file.name}` gave no score for {name}",
            value=value,
            allowed="a number from 0 to 1 for each document",
            fix="put a metric first in `metric_list` that scores single documents",
        )
    return float(value)


def response_of(task: Task, sample: dict[str, Any]) -> str:
    """What the model said: its text, the likeliest choice, or whether the target was its greedy answer."""
    kind = task.get_config("output_type")
    if kind == "generate_until":
        return str(sample["resps"][0][0])
    log_probabilities = [float(responses[0][0]) for responses in sample["resps"]]
    if kind == "multiple_choice":
        choices: list[str] = task.doc_to_choice(sample["doc"])  # type: ignore[attr-defined]
        return str(choices[int(np.argmax(log_probabilities[: len(choices)]))])
    return "the target" if sample["resps"][0][0][1] else "another text than the target"
