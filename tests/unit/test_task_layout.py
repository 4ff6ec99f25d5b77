"""A pinned task file, put together elsewhere from names and bytes alone, is the same task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError, IntegrityError
from quantplay.evalset import read_task_file
from quantplay.evalset.task_layout import read_bytes, task_file_of, task_layout

FOLDER = st.sampled_from(["", "a", "a/b", "..", "../c", "../../d", "./e"])
PLAIN = "task: t\ndataset_path: json\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names_of(task: Path, allow: tuple[str, ...] = ()) -> dict[str, Path]:
    """As quantplay.plays.pin names them."""
    files = read_task_file(task, allow).files
    return {f"tasks/{task.stem}/{number}-{file.name}": file for number, file in enumerate(files)}


def elsewhere(names: dict[str, Path], folder: Path) -> Path:
    """The same files in `folder`, laid out by nothing but their names and bytes; the task file."""
    layout = task_layout({name: read_bytes(path) for name, path in names.items()})
    assert set(layout) == set(names)
    for name, path in layout.items():
        target = (folder / path).resolve()
        assert target.is_relative_to(folder.resolve()), "nothing leaves the folder"
        write(target, names[name].read_text(encoding="utf-8"))
    stem = next(iter(names)).split("/")[1]
    return folder / task_file_of(layout, stem)


@settings(deadline=None)  # it writes files
@given(include=FOLDER, inner=FOLDER, data=FOLDER)
def test_a_task_and_all_it_reads_is_the_same_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, include: str, inner: str, data: str
) -> None:
    top = tmp_path_factory.mktemp("set")
    home = top / "1" / "2" / "3" / "4" / "5"
    for folder in (include, data, f"{include}/{inner}"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    write(home / data / "items.jsonl", json.dumps({"q": "1+1", "a": "2"}))
    write(home / include / inner / "deepest.yaml", "num_fewshot: 0\n")
    # What an include names by relative path is relative to itself; data are relative to the task file.
    write(home / include / "base.yaml", f"include: {join(inner, 'deepest.yaml')}\n{PLAIN}")
    text = (
        f"include: {join(include, 'base.yaml')}\ndataset_kwargs:\n  data_files: {{test: {join(data, 'items.jsonl')}}}\n"
    )
    names = names_of(write(home / "sums.yaml", text))
    assert len(names) == 4
    task = elsewhere(names, tmp_path_factory.mktemp("elsewhere"))
    assert read_task_file(task).digest() == read_task_file(home / "sums.yaml").digest()
    assert read_task_file(task).config == read_task_file(home / "sums.yaml").config


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def test_python_beside_an_allowed_task_comes_along_and_is_not_run(tmp_path: Path) -> None:
    write(tmp_path / "items.jsonl", json.dumps({"q": "1+1", "a": "2"}))
    write(tmp_path / "helper.py", "raise SystemExit('this was run')\n")
    text = f"{PLAIN}process_results: !function helper.score\ndataset_kwargs:\n  data_files: items.jsonl\n"
    names = names_of(write(tmp_path / "sums.yaml", text), ("sums.yaml",))
    task = elsewhere(names, tmp_path / "elsewhere")
    assert (task.parent / "helper.py").is_file()
    assert (
        read_task_file(task, ("sums.yaml",)).digest() == read_task_file(tmp_path / "sums.yaml", ("sums.yaml",)).digest()
    )


@pytest.mark.parametrize("folder", ["{here}", "detour/.."])
def test_what_another_machine_could_not_find_is_refused(tmp_path: Path, folder: str) -> None:
    write(tmp_path / "items.jsonl", json.dumps({"q": "1+1", "a": "2"}))
    (tmp_path / "detour").mkdir()
    data = f"{folder.format(here=tmp_path)}/items.jsonl"
    task = write(tmp_path / "sums.yaml", f"{PLAIN}dataset_kwargs:\n  data_files: {data}\n")
    with pytest.raises(InputError, match="a path that no other machine has"):
        task_layout({name: read_bytes(path) for name, path in names_of(task).items()})


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "items.jsonl", json.dumps({"q": "1+1", "a": "2"}))
    names = names_of(write(tmp_path / "sums.yaml", f"{PLAIN}dataset_kwargs:\n  data_files: items.jsonl\n"))
    wrong = {name.replace("items", "other"): path for name, path in names.items()}
    with pytest.raises(IntegrityError, match="fit together"):
        task_layout({name: read_bytes(path) for name, path in wrong.items()})
