"""Evaluation items and texts: what is read, and that every fault of a file is named at once."""

import json
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.evalset import SCORER_NAMES, EvalItem, TextSample, read_item_files, read_items, read_texts
from quantplay.evalset.jsonl import MAX_LINE_BYTES

GOOD = {"id": "a-1", "slice": "sums", "prompt": "1+1?\n", "answer": "2", "scorer": "number"}


def write(folder: Path, *lines: object, name: str = "items.jsonl") -> Path:
    path = folder / name
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(raw) + b"\n")
    return path


def faults_of(path: Path, read=read_items) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.exit_code == 2
    assert all(str(fault) in str(caught.value) for fault in caught.value.faults)
    return [str(fault) for fault in caught.value.faults]


def test_a_good_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        GOOD,
        {**GOOD, "id": "a-2", "document": "page 7", "scorer": "choice", "answer": "b", "choices": ["a", "b"]},
    )
    assert read_items(path) == (
        EvalItem("a-1", "sums", "a-1", "1+1?\n", "2", "number"),
        EvalItem("a-2", "sums", "page 7", "1+1?\n", "b", "choice", ("a", "b")),
    )


def test_windows_line_ends_and_a_missing_last_newline_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\r\n" + json.dumps({**GOOD, "id": "b"}).encode())
    assert [item.id for item in read_items(path)] == ["a-1", "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"\xff\xfe", "no UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"", "blank"),
        (b"{", "no valid JSON"),
        (b"[1]", "no JSON object"),
        (b'{"id": NaN}', "NaN is no JSON number"),
        (b'{"id": -Infinity}', "-Infinity is no JSON number"),
        (b'{"id": 1e999}', "too large"),
        (b'{"id": ' + b"9" * 5000 + b"}", "no valid JSON"),
        (b'{"id": "a", "id": "b"}', "given twice"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"id": "' + b"x" * MAX_LINE_BYTES + b'"}', "too long"),
        ({**GOOD, "prompt": 3}, "`prompt` is no text"),
        ({**GOOD, "prompt": " \n"}, "`prompt` is empty"),
        ({**GOOD, "prompt": " 1+1?"}, "starts with a space"),
        ({**GOOD, "answer": ""}, "`answer` is empty"),
        ({**GOOD, "prompt": "a\x00b"}, "U+0000 at character 1"),
        ({**GOOD, "prompt": "a\x85b"}, "control character"),
        (b'{"id":"a","slice":"s","prompt":"\\ud800","answer":"1","scorer":"exact"}', "surrogate"),
        ({**GOOD, "id": "a\nb"}, "control character"),
        ({**GOOD, "id": " a"}, "starts or ends with a space"),
        ({**GOOD, "id": "x" * 201}, "too long"),
        ({**GOOD, "slice": ""}, "`slice` is empty"),
        ({**GOOD, "document": None}, "`document` is no text"),
        ({**GOOD, "scorer": "vibes"}, "unknown scorer"),
        ({**GOOD, "scorer": ["exact"]}, "unknown scorer"),
        ({**GOOD, "promt": "x"}, "did you mean `prompt`?"),
        ({key: value for key, value in GOOD.items() if key != "answer"}, "the key `answer` is missing"),
        ({**GOOD, "answer": "two"}, "the answer holds none"),
        ({**GOOD, "scorer": "json", "answer": "{a}"}, "the answer is no JSON"),
        ({**GOOD, "scorer": "choice"}, "needs `choices`"),
        ({**GOOD, "scorer": "choice", "choices": ["2"]}, "fewer than two"),
        ({**GOOD, "scorer": "choice", "choices": ["2", "2"]}, "the same one twice"),
        ({**GOOD, "scorer": "choice", "choices": ["2", ""]}, "no list of texts"),
        ({**GOOD, "scorer": "choice", "choices": ["2", "\x01"]}, "control character"),
        ({**GOOD, "scorer": "choice", "choices": ["3", "4"]}, "none of the choices"),
        ({**GOOD, "choices": ["2", "3"]}, "belongs to the scorer `choice` alone"),
    ],
)
def test_every_kind_of_fault_is_named_with_its_line(tmp_path: Path, line: object, said: str) -> None:
    path = write(tmp_path, {**GOOD, "id": "before"}, line, {**GOOD, "id": "after"})
    faults = faults_of(path)
    assert any(said in fault for fault in faults), faults
    assert all(fault.startswith(f"{path}:2: ") for fault in faults)


def test_all_faults_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, {**GOOD, "prompt": "", "scorer": "x"}, GOOD, GOOD, b"{", {**GOOD, "id": "z", "extra": 1})
    faults = faults_of(path)
    assert [fault.split(": ")[0].rsplit(":", 1)[1] for fault in faults] == ["1", "1", "2", "3", "4", "5"]
    assert f"it is also at {path}:1" in faults[2]


def test_ids_are_unique_over_files(tmp_path: Path) -> None:
    first, second = write(tmp_path, GOOD), write(tmp_path, GOOD, name="more.jsonl")
    with pytest.raises(InputError, match="used twice"):
        read_item_files([first, second])


@pytest.mark.parametrize("read", [read_items, read_texts])
def test_files_that_are_not_there_or_empty(tmp_path: Path, read) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert "the file is empty" in faults_of(empty, read)[0]
    for path in (tmp_path / "none.jsonl", tmp_path, Path("a\x00b")):
        with pytest.raises(InputError, match="can't read"):
            read(path)


def test_texts(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "t1", "text": "one\ntwo"}, {"id": "t2", "text": "ü"})
    assert read_texts(path) == (TextSample("t1", "one\ntwo"), TextSample("t2", "ü"))
    assert len(faults_of(write(tmp_path, {"id": "t1"}, {"id": "t1", "text": ""}, {"text": "x"}), read_texts)) == 4


KEYS = st.sampled_from(["id", "slice", "document", "prompt", "answer", "scorer", "choices", "text", "other"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(SCORER_NAMES)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
LINES = st.dictionaries(KEYS, VALUES).map(lambda body: json.dumps(body).encode()) | st.binary()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(LINES, max_size=5).map(b"\n".join))
@example(b'{"id":"a","slice":"s","prompt":"p","answer":"a","scorer":"choice","choices":{"a":1}}')
def test_any_bytes_give_items_or_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(content)
    for read in (read_items, read_texts):
        try:
            assert read(path)
        except InputError as error:
            str(error).encode("utf-8")  # the message itself can be printed


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(WORDS.filter(lambda text: text[0] != " "), WORDS), min_size=1, max_size=5))
def test_what_is_written_is_what_is_read(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    rows = [
        {"id": f"i{n}", "slice": string.ascii_letters[n], "prompt": prompt, "answer": answer, "scorer": "exact"}
        for n, (prompt, answer) in enumerate(pairs)
    ]
    assert [(item.prompt, item.answer) for item in read_items(write(tmp_path, *rows))] == pairs


@pytest.mark.parametrize(
    ("prompt", "text", "following"),
    [("total?", "12", " 12"), ("total? ", "12", "12"), ("total?\n", "12", "12"), ("total?", " 12", " 12")],
)
def test_a_text_follows_the_prompt_after_one_space(prompt: str, text: str, following: str) -> None:
    item = EvalItem(id="a", slice="s", document="a", prompt=prompt, answer="12", scorer="exact")
    assert item.following(text) == following
