"""The standards file: read strictly, every fault at once with its line, its digest that of what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.standards import load_standards, read_standards

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deployments" / "standards.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")


def edited(*pairs: tuple[str, str]) -> str:
    text = TEXT
    for old, new in pairs:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


def faults(folder: Path, text: str) -> list[str]:
    path = folder / "standards.yaml"
    path.write_text(text, encoding="utf-8")
    file = load_standards(path)
    assert file.standards is None
    return [str(fault).removeprefix(f"{path}:") for fault in file.faults]


def line(fragment: str, text: str = TEXT) -> int:
    found = [number for number, one in enumerate(text.splitlines(), start=1) if fragment in one]
    assert len(found) == 1, (fragment, found)
    return found[0]


def test_the_example_that_ships_is_valid() -> None:
    found = read_standards(EXAMPLE)
    assert found.version == 1
    assert "default" in found.use_cases


def test_its_identity_is_what_it_says_and_not_how(tmp_path: Path) -> None:
    found = read_standards(EXAMPLE)
    path = tmp_path / "other.yaml"
    path.write_text("# another remark\n" + TEXT, encoding="utf-8")
    assert read_standards(path).digest() == found.digest()
    path.write_text(edited(("    max_drop: 5 ", "    max_drop: 4.5 ")), encoding="utf-8")
    assert read_standards(path).digest() != found.digest()


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = edited(
        ("version: 1\n", "version: 0\n"),
        ("  llama.cpp:\n", "  lama.cpp:\n"),
        ("GPTQ_INT4, W4A16, W8A8, W8A16, BNB_INT8]", "GPTQ_INT5, W4A16]"),
        ("minimum_samples: 128", "minimum_samples: 600"),
        ("    - calibration.domain", "    - calibration.domains"),
        ("  default:\n", "  usual:\n"),
        ("  production:\n    parts: [trade_off, envelope.target_chip", "  prodution:\n    parts: [trade_off, envelope.targetchip"),
    )  # fmt: skip
    found = faults(tmp_path, text)
    expected = [
        ("version: 0", "version: is out of range"),
        ("  lama.cpp:", "did you mean `llama.cpp`?"),
        ("GPTQ_INT5", "did you mean `GPTQ_INT4`?"),
        ("use_cases:", "a use case called default"),
        ("minimum_samples", "is above maximum_samples"),
        ("calibration.domains", "did you mean `calibration.domain`?"),
        ("  prodution:", "did you mean `production`?"),
        ("envelope.targetchip", "did you mean `envelope.target_chip`?"),
    ]
    assert len(found) == len(expected), found
    for (fragment, words), one in zip(expected, found, strict=True):
        assert one.startswith(f"{line(fragment, text)}: "), (fragment, one)
        assert words in one


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("minimum_bits: 4\n    fewer_bits_from_attempts: 2\n    when", "minimum_bits: 8\n    when", "fewer bits than minimum_bits"),
        ("    max_drop: 5 ", "    max_drp: 5 ", "did you mean `max_drop`?"),
        ("title: Example standards", "", "`title` is missing"),
        ("[trade_off, envelope.target_chip, calibration.traffic]", "[gate]", "is no part of a plan"),
        ("    profiles: [production]\n", "    profiles: [prod]\n", "is not one of the choices"),
    ],
)  # fmt: skip
def test_a_fault_is_told(tmp_path: Path, old: str, new: str, words: str) -> None:
    found = faults(tmp_path, edited((old, new)))
    assert len(found) == 1, found
    assert words in found[0]


@pytest.mark.parametrize("text", ["", "- a\n", "schema: [", "schema: 2\nversion: 1\n"])
def test_what_is_no_standards_file_is_refused(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_standards(tmp_path / "none.yaml")


LINES = TEXT.splitlines()
odd = st.sampled_from(
    ["", "null", "[]", "{}", "[1]", "{a: 1}", "-1", "1e9", "true", '""', "x", "[x, 2]", "&a", "*a", "- 1", "2026-01-01"]
)


@settings(deadline=None, max_examples=150)
@given(
    number=st.integers(0, len(LINES) - 1), value=odd, how=st.sampled_from(["value", "line", "gone", "twice", "indent"])
)
def test_whatever_stands_there_is_valid_or_told_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, number: int, value: str, how: str
) -> None:
    line = LINES[number]
    changed = {
        "value": f"{line.partition(':')[0]}: {value}", "line": value, "gone": "# gone", "twice": f"{line}\n{line}", "indent": f" {line}",
    }[how]  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text("\n".join([*LINES[:number], changed, *LINES[number + 1 :]]) + "\n", encoding="utf-8")
    file = load_standards(path)
    assert (file.standards is None) == bool(file.faults)
    for fault in file.faults:
        assert 1 <= int(fault.where.rpartition(":")[2]) <= len(LINES) + 2, fault


def standards(home: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantplay.cli", "standards", *map(str, arguments)]
    here = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "QUANTPLAY_HOME": str(home),
        "COLUMNS": "200",
        **environment,
    }
    return subprocess.run(command, capture_output=True, text=True, env=here, timeout=120, check=False)


def test_the_commands_show_and_check_it(tmp_path: Path) -> None:
    assert "No standards apply here" in standards(tmp_path).stdout
    assert json.loads(standards(tmp_path, "--json").stdout) == {"path": None, "standards": None}
    shown = standards(tmp_path, QUANTPLAY_STANDARDS=str(EXAMPLE))
    assert "format_critical" in shown.stdout
    body = json.loads(standards(tmp_path, "--json", QUANTPLAY_STANDARDS=str(EXAMPLE)).stdout)
    assert body["standards"]["digest"] == read_standards(EXAMPLE).digest()
    good = standards(tmp_path, "check", EXAMPLE)
    assert good.returncode == 0
    assert read_standards(EXAMPLE).digest() in good.stdout
    nameless = standards(tmp_path, "check", "--json")
    assert nameless.returncode == 2
    bad = tmp_path / "bad.yaml"
    bad.write_text(edited(("version: 1\n", "")), encoding="utf-8")
    told = standards(tmp_path, "check", bad, "--json")
    assert told.returncode == 2
    assert json.loads(told.stdout)["faults"][0]["what"] == "`version` is missing"
    assert standards(tmp_path, QUANTPLAY_STANDARDS=str(bad)).returncode == 2
