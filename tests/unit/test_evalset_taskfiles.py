"""lm-eval task files: read without running them, refused with every reason."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.evalset import read_task_file

GOOD = """\
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "capitals.jsonl").write_text('{"question": "France?", "answer": "Paris"}\n')
    return tmp_path


def write(folder: Path, text: str, name: str = "capitals.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def refused(path: Path, allow: tuple[str, ...] = ()) -> str:
    with pytest.raises(InputError) as caught:
        read_task_file(path, allow)
    return str(caught.value)


def test_a_good_file(folder: Path) -> None:
    task = read_task_file(write(folder, GOOD))
    assert (task.name, task.metric, task.graded, task.code) == ("capitals", "exact_match", False, False)
    assert [file.name for file in task.files] == ["capitals.yaml", "capitals.jsonl"]


def test_the_digest_covers_includes_and_data(folder: Path) -> None:
    base = write(folder, GOOD, "base.yaml")
    path = write(folder, "include: base.yaml\ntask: other\n", "other.yaml")
    task = read_task_file(path)
    assert (task.name, task.config["doc_to_text"]) == ("other", "{{question}}")
    before = task.digest()
    assert read_task_file(path).digest() == before
    with (folder / "capitals.jsonl").open("a") as file:
        file.write('{"question": "Italy?", "answer": "Rome"}\n')
    changed = read_task_file(path).digest()
    base.write_text(GOOD + "description: now\n")
    assert len({before, changed, read_task_file(path).digest()}) == 3


CODE = [
    "process_docs: !function helpers.process\n",
    "class: !function helpers.Task\n",
    "unsafe_code: true\n",
    "use_prompt: promptsource:all\n",
    "custom_dataset: !function helpers.load\n",
]


@pytest.mark.parametrize("line", CODE)
def test_code_is_refused_unless_the_file_is_named(folder: Path, line: str) -> None:
    marker = folder / "ran"
    (folder / "helpers.py").write_text(f"open({str(marker)!r}, 'w')\ndef process(docs): return docs\n")
    path = write(folder, GOOD + line)
    said = refused(path)
    assert "runs Python code" in said
    assert "evaluation.allow_code" in said
    assert "runs Python code" in refused(path, ("another.yaml",))
    task = read_task_file(path, ("capitals.yaml",))
    assert task.code
    assert "helpers.py" in [file.name for file in task.files]
    assert not marker.exists(), "reading must not run anything"


def test_code_in_an_included_file_is_refused_with_its_place(folder: Path) -> None:
    base = write(folder, GOOD + "process_results: !function helpers.score\n", "base.yaml")
    path = write(folder, "include: base.yaml\nprocess_results: null\n")
    assert f"{base}:{GOOD.count(chr(10)) + 1}: the task runs Python code" in refused(path)


def test_metrics_that_load_code_are_code(folder: Path) -> None:
    assert "hf_evaluate" in refused(write(folder, GOOD.replace("aggregation", "hf_evaluate: true, aggregation")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("task: capitals", "task: [a, b]", "one task a file"),
        ("task: capitals", "group: all", "unknown or unsupported key"),
        ("test_split", "test_splitt", "did you mean `test_split`?"),
        ("generate_until", "loglikelihood_rolling", "unsupported `output_type`"),
        ("exact_match", "bleu", "no score for a single document"),
        ("dataset_path: json", "dataset_path: org/set", "so that the data can be pinned"),
        ("capitals.jsonl", "nothing.jsonl", "a data file is not there"),
        ("capitals.jsonl", "https://host/x.jsonl", "a data file is not there"),
        ("{data_files", "{trust_remote_code: true, data_files", "unsupported key in `dataset_kwargs`"),
        ("task: capitals", "task: capitals\nrepeats: 4", "`repeats` must be 1"),
        ("task: capitals", "task: c\ngeneration_kwargs: {do_sample: true}", "decoding is greedy"),
        ("task: capitals", "task: c\ngeneration_kwargs: {temperature: 0.7}", "decoding is greedy"),
        ("task: capitals", "task: c\ngeneration_kwargs: {num_beams: 4}", "unsupported key"),
        ("task: capitals", "task: c\ngeneration_kwargs: {max_gen_toks: 0}", "positive integer"),
        ("task: capitals", "task: c\ngeneration_kwargs: {until: [3]}", "a text or a list of texts"),
        ("task: capitals", "task: c\ngeneration_kwargs: 3", "no mapping"),
        ("task: capitals", "task: c\nmetadata: !!python/object/apply:os.system ['x']", "no valid YAML"),
        ("task: capitals", "include: capitals.yaml", "includes itself"),
        ("task: capitals", "include: none.yaml", "a file that is not there"),
    ],
)
def test_faults(folder: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in refused(write(folder, GOOD.replace(old, new)))


def test_all_faults_at_once(folder: Path) -> None:
    path = write(folder, "output_type: x\nrepeats: 2\ndoc_to_txt: y\nprocess_docs: !function a.b\n")
    with pytest.raises(InputError) as caught:
        read_task_file(path)
    assert len(caught.value.faults) >= 6


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't read"):
        read_task_file(tmp_path / "none.yaml")


LINES = st.sampled_from(
    [
        *GOOD.splitlines(),
        *map(str.strip, CODE),
        "a: &a [*a]",
        "dataset_kwargs: &d {data_files: *d}",
        "? [1]\n: 2",
        "metric_list: {}",
        "metric_list: [1]",
        "metric_list: [{metric: [x]}]",
        "dataset_kwargs: 3",
        "dataset_path: [1]",
        "dataset_kwargs: {data_files: [[1], {}]}",
        "task: 2020-13-01",
        "x: 2020-13-41",
        "!function x",
        "task: !function {a: b}",
        "include: [1, {}]",
        "\t",
        "---",
        "x: 0x_",
        "x: !!float abc",
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(LINES | st.text(max_size=20), max_size=12).map("\n".join).map(str.encode) | st.binary(max_size=200))
def test_any_file_is_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "fuzz.yaml"
    path.write_bytes(content)
    for allow in ((), ("fuzz.yaml",)):
        try:
            assert read_task_file(path, allow).name
        except InputError as error:
            str(error).encode("utf-8")
