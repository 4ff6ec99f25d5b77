"""The team's own lm-eval task files (YAML), read without running anything that stands in them.

lm-eval resolves `!function` while it parses, which runs code. This reader parses with a loader of its own first, follows
`include`, and refuses code unless the plan names the file. Fields: lm-eval's task guide; METRICS below is what has one
score in [0, 1] for each document.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay.digest import digest_of_entries, digest_of_file
from quantplay.errors import Fault
from quantplay.evalset.jsonl import printable, refuse_faults
from quantplay.evalset.task_yaml import Function, load

METRICS = {"acc": False, "acc_norm": False, "acc_bytes": False, "acc_mutual_info": False, "exact_match": False}
"""Metric -> graded. All of lm-eval's own metrics that score a single document; the others score a whole set."""

OUTPUT_TYPES = ("generate_until", "multiple_choice", "loglikelihood")
DATASET_KINDS = ("json", "csv", "parquet", "text")
DATASET_KEYS = ("data_files", "field", "sep", "delimiter", "column_names")
GENERATION_KEYS = ("until", "max_gen_toks", "do_sample", "temperature")
# fmt: off
KEYS = (
    "task", "task_alias", "tag",
    "dataset_path", "dataset_name", "dataset_kwargs",
    "training_split", "validation_split", "test_split", "fewshot_split",
    "process_docs", "doc_to_text", "doc_to_target", "doc_to_choice", "process_results",
    "description", "target_delimiter", "fewshot_delimiter", "fewshot_config", "num_fewshot",
    "metric_list", "output_type", "generation_kwargs", "repeats", "filter_list",
    "should_decontaminate", "doc_to_decontamination_query", "gen_prefix", "metadata", "include",
)
# fmt: on
CODE_KEYS = ("class", "custom_dataset", "unsafe_code", "use_prompt")  # fields that run or load code by themselves


@dataclass(frozen=True)
class TaskFile:
    """One task file, checked."""

    path: Path
    name: str  # lm-eval's `task`
    config: dict[str, Any]  # includes merged; `!function` as Function
    code: bool  # it runs Python, and the plan allows that
    files: tuple[Path, ...]  # all that determines it: the YAML, what it includes, its data, the Python beside it
    metric: str  # the score of a document
    graded: bool

    def digest(self) -> str:
        """Of the bytes of all its files; independent of where they lie."""
        return digest_of_entries((f"{i}/{file.name}", digest_of_file(file)) for i, file in enumerate(self.files))


def read_task_file(path: Path, allow_code: Collection[str] = ()) -> TaskFile:
    """Read one task file; `allow_code` holds the names of the files that may run Python.

    Raises InputError with every fault of the file.
    """
    faults: list[Fault] = []
    functions: list[Function] = []
    read: list[Path] = []
    config = load(path, faults, functions, read)
    refuse_faults(f"the task file {path}", faults)
    allowed = path.name in allow_code
    faults += config_faults(path, config, allowed)
    code = [(function.where, f"!function {function.name}") for function in functions]
    code += [(str(path), key) for key in CODE_KEYS if config.get(key)]
    code += [(str(path), "hf_evaluate") for entry in metric_list(config) if entry.get("hf_evaluate")]
    if not allowed:
        faults += (
            Fault(
                where=where,
                what="the task runs Python code",
                value=what,
                allowed="plain templates and lm-eval's own metrics and filters",
                fix=f"read the code; if you trust it, add {path.name} to `evaluation.allow_code`",
            )
            for where, what in code
        )
    data = data_files(path, config, faults)
    refuse_faults(f"the task file {path}", faults)
    metric = score_metric(config)
    python = sorted(path.parent.glob("*.py")) if code else []
    return TaskFile(
        path=path,
        name=config["task"],
        config=config,
        code=bool(code),
        files=(*read, *data, *python),
        metric=metric,
        graded=METRICS.get(metric, True),
    )


def config_faults(path: Path, config: dict[str, Any], allow_code: bool) -> Iterator[Fault]:
    where = str(path)
    if not isinstance(config.get("task"), str) or not config["task"].strip():
        yield Fault(where=where, what="`task` is no name", allowed="one task a file; groups are not supported")
    for key in config:
        if key not in KEYS and key not in CODE_KEYS:
            near = difflib.get_close_matches(key[:100], KEYS, n=1)
            fix = f"did you mean `{near[0]}`?" if near else "remove it"
            yield Fault(where=where, what="unknown or unsupported key", value=printable(key), fix=fix)
    if config.get("output_type", "generate_until") not in OUTPUT_TYPES:
        value, allowed = printable(config["output_type"]), ", ".join(OUTPUT_TYPES)
        yield Fault(where=where, what="unsupported `output_type`", value=value, allowed=allowed)
    if config.get("repeats", 1) != 1:
        yield Fault(
            where=where, what="`repeats` must be 1: decoding is greedy", value=printable(config["repeats"]), allowed="1"
        )
    generation = config.get("generation_kwargs") or {}
    if not isinstance(generation, dict):
        yield Fault(
            where=where,
            what="`generation_kwargs` is no mapping",
            value=printable(generation),
            allowed=", ".join(GENERATION_KEYS),
        )
    else:
        yield from generation_faults(where, generation)
    entries = config.get("metric_list") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "metric" in entry for entry in entries):
        yield Fault(
            where=where,
            what="`metric_list` is no list of mappings with `metric`",
            value=printable(entries),
            allowed="- {metric: exact_match, aggregation: mean, higher_is_better: true}",
        )
    elif not allow_code and score_metric(config) not in METRICS:
        yield Fault(
            where=where,
            what="the first metric has no score for a single document",
            value=printable(score_metric(config)),
            allowed=", ".join(METRICS),
        )


def generation_faults(where: str, generation: dict[Any, Any]) -> Iterator[Fault]:
    """Both arms decode greedily; a task may only say where an answer ends."""
    for key, value in generation.items():
        if key not in GENERATION_KEYS:
            allowed = ", ".join(GENERATION_KEYS)
            yield Fault(
                where=where, what="unsupported key in `generation_kwargs`", value=printable(key), allowed=allowed
            )
        elif key == "do_sample" and value is not False:
            what = "`do_sample` must be false: decoding is greedy"
            yield Fault(where=where, what=what, value=printable(value), allowed="false")
        elif key == "temperature" and (isinstance(value, bool) or value not in (0, 0.0)):
            what = "`temperature` must be 0: decoding is greedy"
            yield Fault(where=where, what=what, value=printable(value), allowed="0")
        elif key == "max_gen_toks" and (type(value) is not int or value < 1):
            what = "`max_gen_toks` must be a positive integer"
            yield Fault(where=where, what=what, value=printable(value), allowed="1, 2, ...")
        elif key == "until":
            stops = value if isinstance(value, list) else [value]
            if not all(isinstance(stop, str) and stop for stop in stops):
                what = "`until` must be a text or a list of texts"
                yield Fault(where=where, what=what, value=printable(value), allowed='["\\n"]')


def metric_list(config: dict[str, Any]) -> list[dict[str, Any]]:
    entries = config.get("metric_list")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def score_metric(config: dict[str, Any]) -> str:
    """The metric whose value is a document's score: the first of the list, or lm-eval's default for the output type."""
    entries = metric_list(config)
    if entries:
        return str(getattr(entries[0].get("metric"), "name", entries[0].get("metric")))
    return "exact_match" if config.get("output_type", "generate_until") == "generate_until" else "acc"


def data_files(path: Path, config: dict[str, Any], faults: list[Fault]) -> list[Path]:
    """The local data files of a task, in a fixed order. Anything on a hub would not be pinned by content."""
    if config.get("custom_dataset"):
        return []
    where = str(path)
    if config.get("dataset_path") not in DATASET_KINDS:
        faults.append(
            Fault(
                where=where,
                what="`dataset_path` must name a kind of local file, so that the data can be pinned",
                value=printable(config.get("dataset_path")),
                allowed=", ".join(DATASET_KINDS),
                fix="save the data beside the task file and name it in `dataset_kwargs.data_files`",
            )
        )
    keywords = config.get("dataset_kwargs")
    if not isinstance(keywords, dict) or not keywords.get("data_files"):
        faults.append(Fault(where=where, what="`dataset_kwargs.data_files` is missing", allowed="{test: FILE}"))
        return []
    for key in keywords:
        if key not in DATASET_KEYS:
            allowed = ", ".join(DATASET_KEYS)
            faults.append(
                Fault(where=where, what="unsupported key in `dataset_kwargs`", value=printable(key), allowed=allowed)
            )
    files = []
    for name in data_names(keywords["data_files"]):
        if isinstance(name, str) and (path.parent / name).is_file():
            files.append(path.parent / name)
        else:
            faults.append(
                Fault(
                    where=where,
                    what="a data file is not there",
                    value=printable(name),
                    allowed="files relative to the task file",
                )
            )
    return files


def data_names(value: Any) -> list[Any]:
    """Flat list of what `data_files` names: a file, a list of files, or a mapping from split to either."""
    splits = list(value.values()) if isinstance(value, dict) else [value]
    return [name for split in splits for name in (split if isinstance(split, list) else [split])]
