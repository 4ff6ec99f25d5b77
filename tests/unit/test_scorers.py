"""Scorers: right answers, near misses, and that no response can break one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantplay.evalset import SCORER_NAMES, EvalItem
from quantplay.harness.scorers import SCORERS


def score(scorer: str, response: str, answer: str, choices: tuple[str, ...] = ()) -> float:
    return SCORERS[scorer](response, EvalItem("i", "s", "d", "p", answer, scorer, choices))


@pytest.mark.parametrize(
    ("scorer", "answer", "right", "wrong"),
    [
        ("exact", "unknown order", [" unknown order\n"], ["Unknown order", "unknown  order", "unknown order.", ""]),
        (
            "json",
            '{"a": 1, "b": null}',
            ['{"b": null, "a": 1}', ' {"a":1.0,"b":null}\n'],
            [
                *('{"a": 1}', '{"a": true, "b": null}', '{"a": "1", "b": null}', '{"a": NaN, "b": null}', "{", "", "1"),
                *('it is {"a": 1, "b": null}', '{"a": 1, "a": 1, "b": null}', '{"a": 1, "b": null} thanks'),
            ],
        ),
        ("json", "[true, 0]", ["[true,0.0]"], ["[1, false]", "[0, true]", "[true]", "[true, 0, 0]"]),
        (
            "number",
            "19+16=35 35+24=59 total 59",
            ["59", "total 59.", "it is 59.00", "a 1 b 59", "5.9e1", "+59"],
            ["", "fifty-nine", "59 or 60", "-59", "590", "total 5 9"],
        ),
        ("number", "-1,234.5", ["-1234.5", "is -1,234.50 EUR"], ["1234.5", "7-1234.5", "-1234"]),
        ("number", "24", ["35-11=24", "48/2 = 24", "35+24"], ["24=25", "x-24"[:1] + " -24"]),
        ("contains", "Oslo", ["it ships to oslo.", "OSLO", "(Oslo)"], ["oslos", "Os lo", "", "inoslo"]),
        ("contains", "red  desk", ["the Red\ndesk broke"], ["red a desk", "redesk"]),
        ("contains", "+5%", ["up +5% again"], ["5%"]),
        ("contains", "12", ["12", "no. 12,"], ["312", "123"]),
    ],
)
def test_right_and_wrong(scorer: str, answer: str, right: list[str], wrong: list[str]) -> None:
    assert {response: score(scorer, response, answer) for response in right} == dict.fromkeys(right, 1.0)
    assert {response: score(scorer, response, answer) for response in wrong} == dict.fromkeys(wrong, 0.0)


def test_choice() -> None:
    assert score("choice", "b", "b", ("a", "b")) == 1
    assert score("choice", "a", "b", ("a", "b")) == 0


def test_the_registry_and_the_reader_know_the_same_names() -> None:
    assert tuple(SCORERS) == SCORER_NAMES


ANSWERS = {"exact": "x", "json": '{"a": [1]}', "number": "1e9999", "contains": "(", "choice": "a"}


@given(st.sampled_from(SCORER_NAMES), st.text() | st.from_regex(r"[-+.,0-9eE{}\[\]\":]{0,40}"))
def test_any_response_gets_a_score(scorer: str, response: str) -> None:
    assert score(scorer, response, ANSWERS[scorer]) in (0.0, 1.0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@given(VALUES, st.sampled_from([None, 2]))
def test_json_is_compared_as_values(value: object, indent: int | None) -> None:
    assert score("json", json.dumps(value, indent=indent, sort_keys=True), json.dumps(value)) == 1


@given(st.text(), st.sampled_from(SCORER_NAMES[:1]))
def test_the_answer_itself_is_right(text: str, scorer: str) -> None:
    assert score(scorer, text, text) == 1


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.text("abc =:"))
def test_numbers_survive_words_around_them(value: object, words: str) -> None:
    assert score("number", f"{words} {value:,f} {words}", f"{value:f}") == 1
