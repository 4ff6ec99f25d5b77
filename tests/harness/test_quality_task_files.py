"""The team's own lm-eval task files through both arms; templates can't reach Python; code only where it is allowed."""

import json
from pathlib import Path

import pytest

from quantplay.errors import InputError
from quantplay.evalset import read_items, read_task_file
from quantplay.harness.quality import evaluate
from quantplay.plan import Decoding

TASK = """\
task: own
dataset_path: json
dataset_kwargs: {data_files: {test: own.jsonl}}
test_split: test
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
target_delimiter: ""
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
CHOICE = """\
task: own-choice
dataset_path: json
dataset_kwargs: {data_files: plain.jsonl}
test_split: train
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{ ['unknown order', answer] }}"
doc_to_target: 1
target_delimiter: ""
"""


@pytest.fixture
def folder(tmp_path: Path, pilot: Path) -> Path:
    rows = [
        {"prompt": item.prompt, "answer": item.answer, "slice": "mine", "document": "d"} for item in exact_items(pilot)
    ]
    (tmp_path / "plain.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows[0]["id"] = "first"
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "own.yaml").write_text(TASK)
    (tmp_path / "choice.yaml").write_text(CHOICE)
    return tmp_path


def exact_items(pilot: Path):
    return [item for item in read_items(pilot / "evaluation" / "dev.jsonl") if item.scorer == "exact"][:4]


def run(runtime, model: Path, *files: Path, items=(), allow: tuple[str, ...] = ()):
    tasks = [read_task_file(file, allow) for file in files]
    return evaluate(
        runtime=runtime,
        model=model,
        items=items,
        extra_tasks=tasks,
        decoding=Decoding(max_tokens=24),
        batch=4,
        threads=1,
    )


def test_task_files_on_both_arms(folder: Path, pilot_model: Path, reference_gguf: Path, pilot: Path) -> None:
    files = (folder / "own.yaml", folder / "choice.yaml")
    source = run("transformers", pilot_model, *files)
    # Read from JSONL, the same items get the same answers.
    mixed = run("llama.cpp", reference_gguf, *files, items=exact_items(pilot))
    direct, reference = mixed[:4], mixed[4:]
    assert [result.response for result in direct] == [result.response for result in reference[:4]]
    names = ["first", *(f"own-{i}" for i in (1, 2, 3)), *(f"own-choice-{i}" for i in range(4))]
    for results in (source, reference):
        assert [result.id for result in results] == names
        assert {(result.slice, result.cluster) for result in results} == {("mine", "d")}
    assert [(r.score, r.response) for r in source] == [(r.score, r.response) for r in reference]


def test_the_task_may_say_where_an_answer_ends(folder: Path, reference_gguf: Path) -> None:
    whole = run("llama.cpp", reference_gguf, folder / "own.yaml")
    (folder / "own.yaml").write_text(TASK + "generation_kwargs: {max_gen_toks: 1}\n")
    short = run("llama.cpp", reference_gguf, folder / "own.yaml")
    assert all(a.response.startswith(b.response) for a, b in zip(whole, short, strict=True))
    assert any(a.response != b.response for a, b in zip(whole, short, strict=True))


def test_slice_and_document_default_to_the_task_and_the_item(folder: Path, reference_gguf: Path) -> None:
    (folder / "own.jsonl").write_text(json.dumps({"prompt": "a\n", "answer": "b"}))
    (result,) = run("llama.cpp", reference_gguf, folder / "own.yaml")
    assert (result.id, result.slice, result.cluster, result.graded) == ("own-0", "own", "own-0", False)


def test_an_id_in_two_files_is_refused(folder: Path, reference_gguf: Path) -> None:
    (folder / "again.yaml").write_text(TASK.replace("task: own", "task: again"))
    with pytest.raises(InputError, match="an id is used twice"):
        run("llama.cpp", reference_gguf, folder / "own.yaml", folder / "again.yaml")


@pytest.mark.parametrize("name", ["own", "items"])
def test_a_task_name_twice_is_refused(folder: Path, reference_gguf: Path, name: str) -> None:
    (folder / "again.yaml").write_text(TASK.replace("task: own", f"task: {name}"))
    with pytest.raises(InputError, match="task names are used twice"):
        run("llama.cpp", reference_gguf, folder / "own.yaml", folder / "again.yaml")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''|attr('__class__') }}{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ self._TemplateReference__context }}",
    ],
)
def test_templates_can_not_reach_python(folder: Path, reference_gguf: Path, template: str) -> None:
    import lm_eval.utils

    plain = lm_eval.utils.env
    (folder / "own.yaml").write_text(TASK.replace("{{prompt}}", template))
    with pytest.raises(InputError, match="SecurityError"):
        run("llama.cpp", reference_gguf, folder / "own.yaml")
    assert lm_eval.utils.env is plain


def test_a_template_with_an_unknown_field_is_the_file_s_fault(folder: Path, reference_gguf: Path) -> None:
    (folder / "own.yaml").write_text(TASK.replace("{{prompt}}", "{{promt}}"))
    with pytest.raises(InputError, match="promt"):
        run("llama.cpp", reference_gguf, folder / "own.yaml")


def test_code_runs_where_the_plan_allows_it(folder: Path, reference_gguf: Path) -> None:
    code = "def half(doc, results):\n    return {'half': 0.5 if results[0] is not None else 2}\n"
    (folder / "helpers.py").write_text(code)
    text = TASK.replace("exact_match", "half") + "process_results: !function helpers.half\n"
    (folder / "own.yaml").write_text(text)
    with pytest.raises(InputError, match="runs Python code"):
        run("llama.cpp", reference_gguf, folder / "own.yaml")
    results = run("llama.cpp", reference_gguf, folder / "own.yaml", allow=("own.yaml",))
    assert {(result.score, result.graded) for result in results} == {(0.5, True)}
    (folder / "helpers.py").write_text(code.replace("0.5", "7"))
    with pytest.raises(InputError, match="gave no score for first"):
        run("llama.cpp", reference_gguf, folder / "own.yaml", allow=("own.yaml",))
