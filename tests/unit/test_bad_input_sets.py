"""Bad evaluation, held-out and calibration sets, through `quantplay check`: exit code 2, a fault that helps, nothing written.

test_evalset_items.py holds every fault of a single line with the line it is reported at.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from bad_input import Bad, answer_of, names, nothing_written, require_helpful
from plan_samples import write_sample

ITEM = {"id": "a", "slice": "reasoning", "prompt": "1+1?\n", "answer": "2", "scorer": "exact"}
TEXT = {"id": "t", "text": "a talk"}


def line(content: bytes | str | dict[str, object], name: str = "gate.jsonl"):
    """One more line at the end of a good set."""
    raw = (
        content
        if isinstance(content, bytes)
        else (content if isinstance(content, str) else json.dumps(content)).encode()
    )

    def supply(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(raw + b"\n")

    return supply


def whole(content: bytes, name: str = "gate.jsonl"):
    """Other bytes in place of a set."""
    return lambda folder: (folder / name).write_bytes(content)


def changed(change, name: str = "gate.jsonl"):
    """The good set's bytes, changed."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def item(**values: object):
    return line({**ITEM, **values})


DEEP = b"[" * 200_000 + b"]" * 200_000
SETS: list[Bad] = [
    # the file
    ("empty", whole(b""), ("gate.jsonl: the file is empty", "one JSON object a line")),
    ("white space only", whole(b"  \n\t\n"), ("gate.jsonl:1", "the line is blank")),
    ("a blank line at the end", line(b""), ("gate.jsonl:61", "the line is blank")),
    ("Latin-1", line('{"id": "caf\xe9"}'.encode("latin-1")), ("gate.jsonl:61", "is no UTF-8", "e9", "save the file as UTF-8")),
    ("UTF-16", changed(lambda raw: raw.decode().encode("utf-16")), ("is UTF-16", "save it as UTF-8")),
    ("a byte order mark", changed(lambda raw: b"\xef\xbb\xbf" + raw), ("gate.jsonl:1", "byte order mark")),
    ("gzip under another name", changed(gzip.compress), ("is compressed (gzip)", "gunzip")),
    ("a zip archive", whole(b"PK\x03\x04rest\nand more"), ("is a zip archive", "unpack it")),
    ("zstd", whole(b"\x28\xb5\x2f\xfdrest"), ("is compressed (zstd)",)),
    ("Parquet", whole(b"PAR1\x15\x04\nPAR1"), ("is a Parquet file", "JSON Lines")),
    ("NULs", whole(bytes(100)), ("gate.jsonl:1", "no valid JSON")),
    ("one JSON array", changed(lambda raw: b"[" + b",".join(raw.splitlines()) + b"]"), ("gate.jsonl:1", "the line is no JSON object")),
    ("JSON over several lines", whole(json.dumps(ITEM, indent=2).encode()), ("gate.jsonl:1", "no valid JSON", "one JSON object a line")),
    ("CSV", whole(b"id,slice,prompt\na,b,c\n"), ("gate.jsonl:1", "no valid JSON")),
    ("cut short", changed(lambda raw: raw[:-30]), ("gate.jsonl:60", "no valid JSON")),
    ("old Mac line ends", changed(lambda raw: raw.replace(b"\n", b"\r")), ("gate.jsonl:1", "no valid JSON")),
    ("a line of 10 MB", line({**ITEM, "prompt": "x" * 10_000_000}), ("gate.jsonl:61", "the line is too long", "1 MiB")),
    ("10 MB without a line end", whole(b"x" * 10_000_000), ("gate.jsonl:1", "the line is too long")),
    # the line
    ("400,000 brackets", line(DEEP), ("gate.jsonl:61", "nested too deep")),
    ("a choice nested deeply", line(b'{"choices": ' + DEEP + b"}"), ("gate.jsonl:61", "nested too deep")),
    ("a number", line("42"), ("the line is no JSON object", "42")),
    ("a number of 100,000 digits", line(b'{"id": ' + b"1" * 100_000 + b"}"), ("gate.jsonl:61", "no valid JSON")),
    ("NaN for a score", line('{"id": "a", "score": NaN}'), ("NaN is no JSON number",)),
    ("a number beyond floats", line('{"id": 1e999}'), ("is too large",)),
    ("a key twice", line('{"id": "a", "id": "b"}'), ("the key 'id' is given twice",)),
    ("Python instead of JSON", line("{'id': 'a'}"), ("no valid JSON",)),
    ("a comment", line("// soon"), ("no valid JSON",)),
    # the item
    ("an id twice", line({**ITEM, "id": "gate-reasoning-0"}), ("the id is used twice", "it is also at", "gate.jsonl:1")),
    ("a number for an id", item(id=7), ("`id` is no text", "7", "a JSON string")),
    ("null for an id", item(id=None), ("`id` is no text",)),
    ("an id of two lines", item(id="a\nb"), ("`id` holds a control character", "remove it")),
    ("an id of 10,000 letters", item(id="x" * 10_000), ("`id` is too long", "10000 characters", "200")),
    ("a NUL in a prompt", item(prompt="a\0b"), ("`prompt` holds a control character", "U+0000 at character 1")),
    ("half a surrogate pair", line('{"id": "s", "slice": "reasoning", "prompt": "\\udc00", "answer": "1", "scorer": "exact"}'), ("half a surrogate pair",)),
    ("a blank answer", item(answer="  "), ("`answer` is empty",)),
    ("a number for an answer", item(answer=2), ("`answer` is no text", "a JSON string")),
    ("a space before a prompt", item(prompt=" 1+1?"), ("starts with a space", "remove the space")),
    ("no scorer", line({key: value for key, value in ITEM.items() if key != "scorer"}), ("the key `scorer` is missing", 'add "scorer"')),
    ("a scorer nobody knows", item(scorer="bleu"), ("unknown scorer", "bleu", "exact, json, number, contains, choice")),
    ("a scorer that is a list", item(scorer=["exact"]), ("unknown scorer",)),
    ("a misspelt key", item(documnt="d"), ("unknown key", "did you mean `document`?")),
    ("a slice nobody described", item(slice="cooking"), ("holds a slice the plan does not describe", "cooking (1 items)")),
    ("a choice without choices", item(scorer="choice"), ("needs `choices`",)),
    ("one choice", item(scorer="choice", choices=["2"]), ("fewer than two", "all different")),
    ("an answer that is no choice", item(scorer="choice", choices=["3", "4"]), ("none of the choices", "3 | 4")),
    ("no number to compare", item(scorer="number", answer="two"), ("the answer holds none", "in digits")),
    ("no JSON to compare", item(scorer="json", answer="{a: 1}"), ("the answer is no JSON",)),
    ("a million laughs in a value", item(choices=[["ha"] * 1000] * 100), ("belongs to the scorer `choice` alone",)),
    # the texts
    ("a calibration set of items", whole(json.dumps(ITEM).encode(), "calibration.jsonl"), ("calibration.jsonl:1", "the key `text` is missing")),
    ("a number for a text", line({**TEXT, "text": 5}, "calibration.jsonl"), ("calibration.jsonl:131", "`text` is no text")),
    ("an empty text", line({**TEXT, "text": ""}, "heldout.jsonl"), ("heldout.jsonl:5", "`text` is empty")),
    ("a text twice by id", line({**TEXT, "id": "h-0"}, "heldout.jsonl"), ("heldout.jsonl:5", "the id is used twice")),
    ("plain text", whole(b"Once upon a time.\n", "heldout.jsonl"), ("heldout.jsonl:1", "no valid JSON")),
    ("too few calibration samples", whole(json.dumps(TEXT).encode(), "calibration.jsonl"), ("calibration.samples: the file holds fewer", "128 asked for, 1 there")),
    # between the sets
    ("a gate prompt in a calibration text", changed(lambda raw: b'{"id": "x", "text": "what is 3 plus one in reasoning of gate?"}\n' + raw, "calibration.jsonl"), ("of the gate split", "in calibration samples", "gate-reasoning-3 in x")),
    ("a gate item in the dev split", changed(lambda raw: raw.replace(b"dev-reasoning-1", b"gate-reasoning-1"), "dev.jsonl"), ("stand in the gate split too", "gate-reasoning-1")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "supply", "words"), SETS, ids=names(SETS))
def test_a_bad_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, supply, words: tuple[str, ...]
) -> None:
    path = write_sample(tmp_path)
    supply(tmp_path)
    with nothing_written(tmp_path):
        code, faults = answer_of(capsys, "check", {"plan": path})
    assert code == 2
    require_helpful(faults, words)


@pytest.mark.parametrize("ending", [b"\r\n", b"\n\r\n"], ids=["CRLF", "CRLF after LF"])
def test_line_ends_of_other_systems(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: bytes) -> None:
    """Windows line ends are JSON's own white space and change nothing; a doubled line end is a blank line."""
    path = write_sample(tmp_path)
    changed(lambda raw: raw.replace(b"\n", ending))(tmp_path)
    code, faults = answer_of(capsys, "check", {"plan": path})
    assert code == (0 if ending == b"\r\n" else 2)
    assert all("blank" in fault.what for fault in faults)


def test_a_thousand_bad_lines_are_a_thousand_faults_and_a_short_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sample(tmp_path)
    (tmp_path / "gate.jsonl").write_text("nonsense\n" * 1000)
    code, faults = answer_of(capsys, "check", {"plan": path})
    assert code == 2
    assert len([fault for fault in faults if "gate.jsonl:" in fault.where]) == 1000
