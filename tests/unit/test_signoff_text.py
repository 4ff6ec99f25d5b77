"""The text that is signed: one way to write it, and nothing else is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signers import DECISION, GATE, MANIFEST, RUN, made_statement

from quantplay.errors import InputError
from quantplay.signoff import new_statement, parse, render
from quantplay.signoff.text import Statement, hidden_characters, labels_of, moment

PLAIN = st.text(max_size=60).filter(lambda text: not hidden_characters(text))
NAMES = PLAIN.filter(lambda text: text != "" and "\n" not in text)
STATEMENTS = st.builds(
    new_statement,
    run=st.uuids().map(str), stage=st.just("gate"), role=st.sampled_from(["ml_engineer", "product_owner", "on_call"]),
    verdict=st.sampled_from(["approve", "reject", "rework"]), person=NAMES, gate=st.just(GATE), decision=st.just(DECISION),
    manifest=st.none(), gate_changes=st.integers(0, 999), comment=PLAIN,
    now=st.integers(1_600_000_000, 3_700_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
)  # fmt: skip


@given(STATEMENTS)
def test_reading_gives_back_what_was_written(statement: Statement) -> None:
    text = render(statement)
    assert parse(text) == statement
    assert render(parse(text)) == text


@given(STATEMENTS, st.data())
def test_no_byte_can_be_changed_without_changing_what_is_said(statement: Statement, data: st.DataObject) -> None:
    text = bytearray(render(statement))
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] = data.draw(st.integers(0, 255).filter(lambda value: value != text[position]))
    try:
        other = parse(bytes(text))
    except InputError:
        return
    assert other != statement
    assert render(other) == bytes(text)


@given(st.binary(max_size=400))
def test_anything_else_is_refused_clearly(text: bytes) -> None:
    with pytest.raises(InputError, match="not the text of a sign-off"):
        parse(text)


def test_it_can_be_read_aloud() -> None:
    statement = made_statement("product_owner", "Grace Hopper", stage="lock", comment="Good\nenough: „ja“")
    lines = render(statement).decode().splitlines()
    assert lines[0] == "quantplay sign-off 1"
    assert lines[1:6] == [
        f"run: {RUN}",
        "stage: lock",
        "role: product_owner",
        "verdict: approve",
        "person: Grace Hopper",
    ]
    assert f"manifest: {MANIFEST}" in lines
    assert 'comment: "Good\\nenough: „ja“"' in lines
    assert len(lines) == 1 + len(labels_of("lock"))


def test_a_text_is_valid_for_a_week_and_differs_each_time() -> None:
    one, other = made_statement("ml_engineer", "ada"), made_statement("ml_engineer", "ada")
    assert one.nonce != other.nonce
    assert moment(one.expires_at) - moment(one.issued_at) == timedelta(days=7)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n", "\r\n"), ("run: ", "run:  "), ("stage: gate", "stage: Gate"), ("gate changes: 0", "gate changes: 00"),
        ("gate changes: 0", "gate changes: +0"), ('comment: ""', 'comment: "\\u0061"'), ('comment: ""', "comment: null"),
        ("manifest: none", f"manifest: {MANIFEST}"), ("person: ada", "person: ada\u202e"), ("issued: 2", "issued: +2"),
        ("quantplay sign-off 1", "quantplay sign-off 2"), ('comment: ""', 'comment: "\\ud800"'),
        ("verdict: approve\n", "verdict: approve\nverdict: approve\n"), ("role: ml_engineer\n", ""),
    ],
)  # fmt: skip
def test_another_way_to_write_it_is_refused(old: str, new: str) -> None:
    text = render(made_statement("ml_engineer", "ada")).decode()
    assert old in text
    with pytest.raises(InputError):
        parse(text.replace(old, new).encode("utf-8", "surrogatepass"))


def test_what_follows_the_last_line_is_refused() -> None:
    text = render(made_statement("ml_engineer", "ada"))
    for more in (b"\n", b" ", b"extra: 1\n"):
        with pytest.raises(InputError):
            parse(text + more)
    with pytest.raises(InputError):
        parse(text.removesuffix(b"\n"))
    with pytest.raises(InputError, match="at most"):
        parse(text + b"x" * 20_000)


@pytest.mark.parametrize("comment", ["a\u202eb", "\x1b[31m", "x" * 2001, "\ud800"])
def test_a_comment_that_hides_something_is_refused(comment: str) -> None:
    with pytest.raises(InputError, match="can't be signed"):
        made_statement("ml_engineer", "ada", comment=comment)
