"""What plays 5 and 6 need is checked before anything runs: every fault at once, each at its line."""

from __future__ import annotations

import json
from pathlib import Path

from plan_samples import PLAN, write_jsonl, write_sample

from quantplay.errors import Fault
from quantplay.plays.check import CheckReport, check_plan

CASE = """\
business_case:
  requests_per_day: 1000
  tokens_per_request: 400
  serving_cost_per_million_tokens: 0.6
  training_cost: 4000
  months: 12
"""
TRAINING = "training:\n  file: training.jsonl\n"
TWO_LOOKS = PLAN.replace("attempts: 1", "attempts: 2")


def checked(folder: Path, text: str, texts: list[str] | None = None) -> CheckReport:
    folder = folder / str(len(list(folder.iterdir())))
    folder.mkdir()
    path = write_sample(folder, text)
    if texts is not None:
        write_jsonl(folder / "training.jsonl", [{"id": f"t{n}", "text": text} for n, text in enumerate(texts)])
    return check_plan(path)


def told(faults: tuple[Fault, ...], *parts: str) -> list[Fault]:
    return [fault for fault in faults if all(part in str(fault) for part in parts)]


def test_a_plan_with_all_of_it_is_good(tmp_path: Path) -> None:
    mixing = "mixed_precision: {growth_percent: 10, types: [Q4_K, Q6_K]}\n"
    report = checked(tmp_path, TWO_LOOKS + CASE + TRAINING + mixing, ["a text of its own about nothing that is asked"])
    assert report.faults == ()
    assert told(report.warnings, "never") == []
    assert {one.name: one.entries for one in report.sets}["training"] == 1
    assert report.room is not None
    assert "training after a broken one" in report.room


def test_every_fault_at_once(tmp_path: Path) -> None:
    checked(tmp_path, PLAN)
    asked = read(tmp_path / "0" / "gate.jsonl")[0]["prompt"]
    mixing = "mixed_precision: {types: [Q4_K_M, Q6_K, Q6_K]}\n"
    report = checked(tmp_path, PLAN + TRAINING + mixing, [f"before {asked} after"])
    assert told(report.faults, "mixed_precision.types[1]: no group of a mix can have this type", "did you mean `Q4_K`?")
    assert told(report.faults, "mixed_precision.types[3]: stands twice")
    assert told(report.faults, "training.file: gate", "stand in training texts")
    assert told(report.warnings, "training: never runs", "business_case")
    assert told(report.warnings, "mixed_precision: is never reached", "attempts: 2")


def test_the_types_of_a_mix_are_those_of_the_runtime_s_format(tmp_path: Path) -> None:
    folders = TWO_LOOKS.replace("runtime: llama.cpp", "runtime: transformers")
    mixing = "mixed_precision: {types: [%s]}\n"
    of_folders, of_ggml = mixing % "full, W8A16, W4A16", mixing % "Q6_K, Q4_K"
    for plan, wrong, right in ((TWO_LOOKS, of_folders, of_ggml), (folders, of_ggml, of_folders)):
        assert len(told(checked(tmp_path, plan + wrong).faults, "no group of a mix can have this type")) >= 2
        assert told(checked(tmp_path, plan + right).faults, "mixed_precision") == []


def test_a_business_case_needs_texts_and_a_look(tmp_path: Path) -> None:
    report = checked(tmp_path, PLAN + CASE)
    (fault,) = told(report.faults, "nothing says what to train on")
    assert "file: training.jsonl" in str(fault.fix)
    assert told(report.warnings, "business_case: is never reached", "attempts: 2")
    report = checked(tmp_path, PLAN + CASE + TRAINING)
    assert told(report.faults, "training.file: there is no such file")


def test_one_type_alone_is_no_mix(tmp_path: Path) -> None:
    report = checked(tmp_path, TWO_LOOKS + "mixed_precision: {types: [Q4_K]}\n")
    assert told(report.faults, "of one type alone nothing can be mixed")


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
