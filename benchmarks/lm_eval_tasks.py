"""The pilot's items as plain lm-eval tasks, and a team's own task files: what lm_eval_oracle gives to lm-eval itself.

Scores are made by lm-eval's own filters and metrics where it has them, and by a few lines here where it has none (JSON, a phrase
in an answer): none of quantplay's scorers is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from quantplay.evalset import EvalItem
from quantplay.harness.tasks import generation_arguments
from quantplay.plan import Decoding

OWN_GENERATION = """\
task: own-generation
dataset_path: json
dataset_kwargs: {data_files: {test: TEST, dev: DEV}}
test_split: test
fewshot_split: dev
num_fewshot: 2
fewshot_delimiter: "\\n"
target_delimiter: " "
description: ""
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 48, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
filter_list:
  - name: first
    filter: [{function: remove_whitespace}, {function: take_first}]
"""
OWN_CHOICE = """\
task: own-choice
dataset_path: json
dataset_kwargs: {data_files: {test: TEST}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{choices.index(answer)}}"
metric_list:
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
OWN_LIKELIHOOD = """\
task: own-likelihood
dataset_path: json
dataset_kwargs: {data_files: {test: TEST}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{prompt}}"
doc_to_target: " {{answer}}"
target_delimiter: ""
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""


def choice_items(items: Sequence[EvalItem]) -> list[EvalItem]:
    """Of every question about a page, a choice between the values that stand on the page."""
    made = []
    for item in items:
        values = re.findall(r"^the \S+: (.+)$", item.prompt, re.MULTILINE)
        choices = tuple(dict.fromkeys([*values[:4], item.answer]))
        if item.slice == "long_context" and item.answer in values and len(choices) > 1:
            made.append(replace(item, id=f"choice-{item.id}", scorer="choice", choices=choices))
    return made


def contains_items(items: Sequence[EvalItem]) -> list[EvalItem]:
    """The first 100 items that expect an exact answer, satisfied when it stands in the response."""
    found = [item for item in items if item.scorer == "exact"][:100]
    return [replace(item, id=f"contains-{item.id}", scorer="contains") for item in found]


def write_team_files(folder: Path, items: Sequence[EvalItem], choices: Sequence[EvalItem], dev: Path) -> list[Path]:
    """A team's own task files with their data in `folder`; paths in them are absolute, as plain lm-eval needs them."""
    bodies = {"generation": OWN_GENERATION, "choice": OWN_CHOICE, "likelihood": OWN_LIKELIHOOD}
    paths = []
    for name, body in bodies.items():
        rows = [asdict(item) | {"id": f"own-{name}-{item.id}"} for item in (choices if name == "choice" else items)]
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        paths.append(folder / f"own-{name}.yaml")
        paths[-1].write_text(body.replace("TEST", str(data)).replace("DEV", str(dev)), encoding="utf-8")
    return paths


def plain_tasks(items: Sequence[EvalItem], decoding: Decoding, folder: Path) -> list[dict[str, Any]]:
    """One lm-eval task configuration a scorer, over the same prompts in the same order."""
    configurations = []
    for scorer, scoring in SCORING.items():
        rows = [asdict(item) for item in items if item.scorer == scorer]
        if not rows:
            continue
        data = folder / f"plain-{scorer}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        configuration = {
            "task": f"plain-{scorer}", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test", "doc_to_text": "{{prompt}}", "doc_to_target": "{{answer}}", "num_fewshot": 0,
        }  # fmt: skip
        if scorer != "choice":
            configuration |= {"output_type": "generate_until", "generation_kwargs": generation_arguments(decoding)}
        configurations.append(configuration | scoring)
    return configurations


def json_score(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Same JSON value, by its sorted text."""
    try:
        said = json.dumps(json.loads(results[0]), sort_keys=True)
    except ValueError:
        said = None
    return {"right": float(said == json.dumps(json.loads(doc["answer"]), sort_keys=True))}


def contains_score(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """The words of the answer follow each other in the response."""
    words = [re.findall(r"\w+|[^\w\s]", text.lower()) for text in (results[0], doc["answer"])]
    said, wanted = (f" {' '.join(found)} " for found in words)
    return {"right": float(wanted in said)}


EXACT = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
RIGHT = {"metric_list": [{"metric": "right", "aggregation": "mean", "higher_is_better": True}]}


def regex(pattern: str, select: int) -> list[dict[str, Any]]:
    """lm-eval's regular-expression filter, which also strips white space, then the only response."""
    found = {"function": "regex", "regex_pattern": pattern, "group_select": select}
    return [{"name": "found", "filter": [found, {"function": "take_first"}]}]


SCORING: dict[str, dict[str, Any]] = {
    "exact": {"metric_list": [EXACT], "filter_list": regex(r"(?s)(.+)", 0)},
    "number": {
        "metric_list": [EXACT],
        "filter_list": regex(r"(-?[0-9][0-9,]*(?:\.[0-9]+)?)", -1),
        "doc_to_target": "{{answer.split(' ')[-1]}}",
    },
    "json": {"process_results": json_score} | RIGHT,
    "contains": {"process_results": contains_score} | RIGHT,
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{choices.index(answer)}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
}
"""Scorer of the item -> how plain lm-eval scores it."""
