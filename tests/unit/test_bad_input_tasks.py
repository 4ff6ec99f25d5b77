"""Bad lm-eval task files, through `quantplay check`: exit code 2, a fault that helps, nothing written, no code run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bad_input import Bad, answer_of, names, nothing_written, require_helpful
from plan_samples import edited, write_sample

TASK = """\
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: capitals.jsonl}}
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
output_type: generate_until
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
CODE = "import os\nos.mkdir('task-code-ran')\ndef run(docs):\n    return docs\n"


def task(old: str, new: str):
    """The task file with one text replaced."""
    return lambda folder: (folder / "task.yaml").write_text(edited(old, new, TASK))


def more(text: str):
    return lambda folder: (folder / "task.yaml").write_text(TASK + text)


def whole(raw: bytes):
    return lambda folder: (folder / "task.yaml").write_bytes(raw)


def instead(name: str, make):
    return lambda folder: [(folder / name).unlink(), make(folder / name)]


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))

TASKS: list[Bad] = [
    # the file
    ("no file", lambda folder: (folder / "task.yaml").unlink(), ("evaluation.tasks", "there is no such file")),
    ("a pipe", instead("task.yaml", os.mkfifo), ("evaluation.tasks", "is a pipe or a device")),
    ("empty", whole(b""), ("no YAML mapping",)),
    ("a list", whole(b"- a\n"), ("no YAML mapping",)),
    ("not UTF-8", whole(b"task: \xff\n"), ("is no UTF-8",)),
    ("binary", whole(bytes(range(128))), ("no valid YAML",)),
    ("10 MB", whole(b"x" * 10_000_000), ("the file is too long", "1 MiB")),
    ("broken YAML", more("a: [\n"), ("no valid YAML",)),
    ("brackets", whole(b"[" * 100_000), ("no valid YAML",)),
    ("a billion laughs", more(LAUGHS + "metadata: *a11\n"), ("aliases", "up to 100,000 values", "write the values out")),
    ("a billion laughs under a key that is shown", more(LAUGHS + "repeats: *a11\n"), ("aliases",)),
    ("an alias to itself", more("metadata: &m [*m]\n"), ("aliases", "contain themselves")),
    ("a date that is none", more("metadata: 2026-13-41\n"), ("no valid YAML",)),
    # code
    ("a Python object", more("metadata: !!python/object/apply:os.mkdir [task-code-ran]\n"), ("no valid YAML", "python/object/apply:os.mkdir")),
    ("a Python name", more("metadata: !!python/name:os.system\n"), ("no valid YAML",)),
    ("a function", more("process_docs: !function helpers.run\n"), ("task.yaml:10", "the task runs Python code", "helpers.run", "evaluation.allow_code")),
    ("a class", more("class: !function helpers.run\n"), ("the task runs Python code",)),
    ("unsafe code", more("unsafe_code: true\n"), ("the task runs Python code", "unsafe_code")),
    ("a metric loaded from a hub", task("aggregation: mean", "hf_evaluate: true"), ("the task runs Python code", "hf_evaluate")),
    ("a function in an included file", lambda folder: [(folder / "base.yaml").write_text("process_docs: !function helpers.run\n"), (folder / "task.yaml").write_text("include: base.yaml\n" + TASK)], ("base.yaml:1", "the task runs Python code")),
    ("an include tag", more("metadata: !include /etc/passwd\n"), ("no valid YAML",)),
    ("an include that is no task", more("include: /etc/passwd\n"), ("/etc/passwd",)),
    ("an include that is not there", more("include: none.yaml\n"), ("includes a file that is not there", "none.yaml")),
    ("an include of itself", more("include: task.yaml\n"), ("the file includes itself",)),
    ("an include of a device", more("include: /dev/zero\n"), ("includes a file that is not there",)),
    ("code of a hub data set", task("{data_files", "{trust_remote_code: true, data_files"), ("unsupported key in `dataset_kwargs`", "trust_remote_code")),
    # data
    ("data that are not there", task("capitals.jsonl", "capital.jsonl"), ("a data file is not there", "capital.jsonl")),
    ("data on the web", task("capitals.jsonl", "https://host/x.jsonl"), ("a data file is not there", "https://host/x.jsonl")),
    ("data that are a folder", task("capitals.jsonl", "model"), ("a data file is not there",)),
    ("data that are a pipe", instead("capitals.jsonl", os.mkfifo), ("a data file is not there",)),
    ("a hub data set", task("dataset_path: json", "dataset_path: org/set"), ("so that the data can be pinned", "beside the task file")),
    ("no data", task("dataset_kwargs: {data_files: {test: capitals.jsonl}}\n", ""), ("`dataset_kwargs.data_files` is missing",)),
    # what it asks for
    ("no name", task("task: capitals", "task: [a, b]"), ("`task` is no name",)),
    ("a group", more("group: everything\n"), ("unknown or unsupported key", "group")),
    ("a misspelt key", task("doc_to_target", "doc_to_targt"), ("unknown or unsupported key", "did you mean `doc_to_target`?")),
    ("sampling", more("generation_kwargs: {do_sample: true}\n"), ("decoding is greedy",)),
    ("a temperature", more("generation_kwargs: {temperature: 0.7}\n"), ("`temperature` must be 0",)),
    ("no answer at all", more("generation_kwargs: {max_gen_toks: 0}\n"), ("`max_gen_toks` must be a positive integer",)),
    ("a metric of a whole set", task("exact_match", "bleu"), ("no score for a single document", "exact_match")),
    ("metrics that are no list", task("metric_list:\n  - {metric: exact_match, aggregation: mean, higher_is_better: true}", "metric_list: exact_match"), ("`metric_list` is no list",)),
    ("an output nobody scores", task("generate_until", "loglikelihood_rolling"), ("unsupported `output_type`", "multiple_choice")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "supply", "words"), TASKS, ids=names(TASKS))
def test_a_bad_task_file(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    supply,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)  # where code that runs would leave its trace
    path = write_sample(tmp_path, edited("  heldout: heldout.jsonl", "  heldout: heldout.jsonl\n  tasks: [task.yaml]"))
    (tmp_path / "capitals.jsonl").write_text(json.dumps({"question": "France?", "answer": "Paris"}) + "\n")
    (tmp_path / "helpers.py").write_text(CODE)
    (tmp_path / "task.yaml").write_text(TASK)
    supply(tmp_path)
    with nothing_written(tmp_path):
        code, faults = answer_of(capsys, "check", {"plan": path})
    assert code == 2
    require_helpful(faults, words)
