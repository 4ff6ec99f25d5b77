"""Bad plans, through `quantplay check` and `quantplay run`: exit code 2, a fault that helps, nothing written.

test_plan_file.py holds the faults of single lines (BAD) with the line each is reported at; they all run here once more.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from bad_input import Bad, answer_of, names, nothing_written, require_helpful
from plan_samples import PLAN, edited, write_sample
from test_plan_file import BAD

from quantplay.errors import PlanError


def text(old: str, new: str):
    """The plan with one text replaced."""
    return lambda folder: (folder / "plan.yaml").write_text(edited(old, new), encoding="utf-8")


def raw(content: bytes):
    """Other bytes in place of the plan."""
    return lambda folder: (folder / "plan.yaml").write_bytes(content)


def instead(make):
    """Something else than a file in place of the plan."""

    def supply(folder: Path) -> None:
        (folder / "plan.yaml").unlink()
        make(folder / "plan.yaml")

    return supply


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


LAUGHS = "l0: &l0 [ha, ha]\n" + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a: &a {x: 1}\n" + "".join(f"b{n}: &b{n}\n  <<: [*a, *a]\n" for n in range(200))

PLANS: list[Bad] = [
    # the file
    ("no file", instead(lambda path: None), ("there is no such file", "quantplay init")),
    ("a folder", instead(Path.mkdir), ("is a folder", "a YAML file")),
    ("a named pipe", instead(os.mkfifo), ("is a pipe or a device", "save the plan to a file")),
    ("a socket", instead(unix_socket), ("is a pipe or a device",)),
    ("/dev/zero", instead(lambda path: path.symlink_to("/dev/zero")), ("is a pipe or a device",)),
    ("/dev/null", instead(lambda path: path.symlink_to("/dev/null")), ("is a pipe or a device",)),
    ("a link to nowhere", instead(lambda path: path.symlink_to("nowhere")), ("there is no such file",)),
    ("a link to itself", instead(lambda path: path.symlink_to(path)), ("can't be read",)),
    ("a file that fails when it is read", instead(lambda path: path.symlink_to("/proc/self/mem")), ("can't be read", "Input/output error")),
    ("empty", raw(b""), ("is empty", "quantplay init")),
    ("white space only", raw(b" \n\n  \n"), ("is empty",)),
    ("comments only", raw(b"# soon\n"), ("is empty",)),
    ("one NUL", raw(b"\0"), ("a character YAML does not allow", "U+0000")),
    ("binary", raw(bytes(range(256))), ("is not UTF-8",)),
    ("weights", raw(b"\x50\0\0\0\0\0\0\0{}"), ("does not allow",)),
    ("gzip", raw(b"\x1f\x8b\x08\x00rest"), ("is not UTF-8", "0x8b")),
    ("Latin-1", raw(PLAN.replace("ada", "Bj\xf6rn").encode("latin-1")), ("is not UTF-8", "0xf6", "save the file as UTF-8")),
    ("UTF-16", raw(PLAN.encode("utf-16")), ("is UTF-16", "UTF-8")),
    ("UTF-16 without a mark", raw(PLAN.encode("utf-16-le")), ("does not allow", "U+0000")),
    ("a line of 10 MB", raw(b"name: " + b"x" * 10_000_000), ("is too large for a plan", "131072")),
    ("a million lines", raw(b"a: 1\n" * 1_000_000), ("is too large for a plan",)),
    # YAML
    ("a list", raw(b"- name: x\n"), ("should be keys with values",)),
    ("one word", raw(b"plan\n"), ("should be keys with values", "plan")),
    ("JSON cut short", raw(b'{"name": "x", "seed"'), ("is not valid YAML",)),
    ("a tab before a key", text("  batch: 2", "\tbatch: 2"), ("a tab indents this line", "two spaces")),
    ("a key twice", text("seed: 3", "seed: 3\nseed: 4"), ("stands twice", "line 6", "keep one")),
    ("a gate twice", lambda folder: (folder / "plan.yaml").write_text(PLAN + "gate: {attempts: 20}\n"), ("key `gate` stands twice",)),
    ("an anchor", text("seed: 3", "seed: &s 3"), ("an anchor", "remove the anchor")),
    ("a merge key", text("seed: 3", "seed: 3\n<<: {name: other}"), ("unknown key `<<`",)),
    ("a billion laughs", raw(LAUGHS.encode()), ("an alias repeats", "write the value out")),
    ("merges of merges", raw(MERGES.encode()), ("an alias repeats",)),
    ("an alias to itself", raw(b"a: &a [*a]\n"), ("an alias repeats",)),
    ("100,000 brackets", raw(b"a: " + b"[" * 100_000), ("is nested too deeply", "at most 12 levels")),
    ("100,000 braces", raw(b"{a: " * 25_000), ("is nested too deeply",)),
    ("a tag that runs code", text("name: sample", "name: !!python/object/apply:os.system [id]"), ("a YAML tag", "plan is plain data")),
    ("a tag of binary", text("name: sample", "name: !!binary aGk="), ("a YAML tag",)),
    ("a second document", lambda folder: (folder / "plan.yaml").write_text(PLAN + "---\n" + PLAN), ("a second document",)),
    ("a YAML directive from the future", raw(b"%YAML 9.9\n---\n" + PLAN.encode()), ("is not valid YAML",)),
    # values
    ("a huge whole number", text("seed: 3", "seed: " + "9" * 100_000), ("seed: is too large a number",)),
    ("a whole number of 19 digits", text("seed: 3", "seed: " + "9" * 19), ("seed",)),
    ("a huge exponent", text("share: 0.5", "share: 1e99999999"), ("gate.hardest.share",)),
    ("not a number", text("share: 0.5", "share: .NaN"), ("is not a finite number", "a finite number")),
    ("the word nan", text("share: 0.5", "share: nan"), ("gate.hardest.share: should be a number", "nan")),
    ("minus infinity", text("broken_drop: 60.0", "broken_drop: -.inf"), ("is not a finite number",)),
    ("a negative tolerance", text("max_loss_rise: 0.1", "max_loss_rise: -0.1"), ("out of range", "more than 0")),
    ("a date for a name", text("name: sample", "name: 2026-11-21T10:00"), ("name: does not have the form",)),
    ("a path for a name", text("name: sample", "name: ../../etc/cron.d/x"), ("name: does not have the form", "lower-case")),
    ("a name of 64 letters", text("name: sample", "name: " + "a" * 64), ("name: does not have the form",)),
    ("NUL in a file name", text("gate: gate.jsonl", 'gate: "gate\\0.jsonl"'), ("control character", "remove it")),
    ("half a surrogate pair", text("use_case: Answers questions in a test.", 'use_case: "\\ud800"'), ("use_case",)),
    ("a misspelt part", text("calibration:\n  file", "calibraton:\n  file"), ("unknown key `calibraton`", "did you mean `calibration`?")),
    ("a key in the wrong part", text("  batch: 2", "  batch: 2\n  attempts: 3"), ("belongs under `gate`", "indentation")),
    ("a mapping for a text", text("ml_engineer: ada", "ml_engineer: {name: ada}"), ("owners.ml_engineer: should be text",)),
    ("a schema from the future", text("schema: 1", "schema: 9"), ("a version this quantplay does not read", "update quantplay")),
    ("a schema that is no number", text("schema: 1", "schema: one"), ("schema", "one")),
    # what the plan points to
    ("a set that is not there", text("gate: gate.jsonl", "gate: gates.jsonl"), ("evaluation.gate: there is no such file", "did you mean `gate.jsonl`?")),
    ("a set that is a folder", text("dev: dev.jsonl", "dev: model"), ("evaluation.dev: is a folder",)),
    ("a set that is a pipe", lambda folder: [(folder / "dev.jsonl").unlink(), os.mkfifo(folder / "dev.jsonl")], ("evaluation.dev", "is a pipe or a device")),
    ("a set that is a device", text("dev: dev.jsonl", "dev: /dev/zero"), ("evaluation.dev", "is a pipe or a device")),
    ("a set outside the folder that is none", text("heldout: heldout.jsonl", "heldout: ../../../../../../../../etc/passwd"), ("/etc/passwd:1", "no valid JSON")),
    ("a set with an endless name", text("heldout: heldout.jsonl", "heldout: " + "x" * 5000), ("can't be read", "File name too long")),
    ("a model of an unknown user", text("source: model", "source: ~nobody-of-this-name/model"), ("model.source: there is no such folder",)),
    ("a model that is a file", text("source: model", "source: gate.jsonl"), ("model.source: there is no such folder",)),
    ("a hub model at a branch", text("source: model", "source: org/name\n  commit: main"), ("model.commit", "Full commit")),
    ("a hub model without a commit", text("source: model", "source: org/name"), ("a hub id needs the commit", "a branch or tag moves")),
    ("a set for gate and dev alike", text("dev: dev.jsonl", "dev: gate.jsonl"), ("stand in the gate split too",)),
    ("a type that is none", text("[Q4_K_M, Q5_K_M]", "[Q4_K_XL]"), ("unknown serving type", "Q8_0")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "supply", "words"), PLANS, ids=names(PLANS))
def test_a_bad_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, supply, words: tuple[str, ...]
) -> None:
    path = write_sample(tmp_path)
    supply(tmp_path)
    with nothing_written(tmp_path):
        code, faults = answer_of(capsys, "check", {"plan": path})
    assert code == 2
    require_helpful(faults, words)


@pytest.mark.parametrize(("old", "new"), [case[:2] for case in BAD], ids=[str(number) for number in range(len(BAD))])
def test_a_bad_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str) -> None:
    path = write_sample(tmp_path, edited(old, new))
    with nothing_written(tmp_path):
        code, faults = answer_of(capsys, "check", {"plan": path})
    assert code == 2
    assert all(fault.allowed or fault.fix for fault in faults), faults


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~nobody-of-this-name/plan.yaml", "plan.yaml/plan.yaml", ""])
def test_a_path_that_can_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    write_sample(tmp_path)
    monkeypatch.chdir(tmp_path)
    with nothing_written(tmp_path):
        code, faults = answer_of(capsys, "check", {"plan": Path(path)})
    assert code == 2
    assert faults


def test_run_refuses_before_it_starts_or_writes_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTPLAY_HOME", str(tmp_path / "home"))
    path = write_sample(tmp_path, edited("seed: 3", "seed: three"))
    with nothing_written(tmp_path):
        code, faults = answer_of(capsys, "run", {"plan": str(path)})
    assert code == PlanError.exit_code
    require_helpful(faults, ("seed: should be a whole number", "three"))


def test_ten_faults_in_plan_sets_model_and_task_file_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = edited("seed: 3", "seed: -1", edited("profile: internal", "profile: interal"))
    plan = edited("[Q4_K_M, Q5_K_M]", "[Q4]", edited("owners:\n", "owners:\n  cook: me\n", plan))
    plan = edited("  heldout: heldout.jsonl", "  heldout: nowhere.jsonl\n  tasks: [task.yaml]", plan)
    path = write_sample(tmp_path, plan)
    (tmp_path / "gate.jsonl").write_text('{"id": "a"}\n')
    (tmp_path / "calibration.jsonl").write_bytes(b"\xff\n")
    (tmp_path / "model" / "weights.pkl").write_bytes(b"x")
    (tmp_path / "model" / "config.json").write_text("{")
    (tmp_path / "task.yaml").write_text("task: t\nprocess_docs: !function helpers.run\n")
    code, faults = answer_of(capsys, "check", {"plan": path})
    assert code == 2
    for words in (
        ("seed:", "-1"), ("profile:", "did you mean `internal`?"), ("unknown serving type", "Q4"), ("unknown key `owners.cook`",),
        ("evaluation.heldout: there is no such file",), ("gate.jsonl:1", "`prompt` is missing"), ("calibration.jsonl:1", "no UTF-8"),
        ("weights.pkl", "pickle"), ("config.json", "no JSON object"), ("task.yaml", "runs Python code"),
    ):  # fmt: skip
        require_helpful(faults, words)
