"""docs/evaluation-sets.md: its examples are read, its tables complete; and reading sets stays light."""

import re
import subprocess
import sys
from pathlib import Path

from quantplay.evalset import SCORER_NAMES, read_items, read_task_file, read_texts
from quantplay.evalset.taskfiles import CODE_KEYS, DATASET_KINDS, METRICS, OUTPUT_TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation-sets.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_are_read(tmp_path: Path) -> None:
    items, texts = blocks("json")
    (task,) = blocks("yaml")
    for name, content in (("i.jsonl", items), ("t.jsonl", texts), ("returns.yaml", task), ("returns.jsonl", "{}")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert len(read_items(tmp_path / "i.jsonl")) == 2
    assert len(read_texts(tmp_path / "t.jsonl")) == 1
    assert read_task_file(tmp_path / "returns.yaml").name == "returns"


def test_every_name_is_described() -> None:
    for name in (*SCORER_NAMES, *METRICS, *OUTPUT_TYPES, *DATASET_KINDS, *CODE_KEYS):
        assert f"`{name}`" in PAGE, name


def test_reading_sets_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'lm_eval', 'llama_cpp', 'datasets', 'huggingface_hub', 'prefect', 'sqlalchemy'}"
    modules = "quantplay.evalset, quantplay.harness.quality, quantplay.harness.identity"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
