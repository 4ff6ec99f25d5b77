"""`check_plan`: the plan and everything it points to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from plan_samples import PLAN, edited, line_of, write_jsonl, write_sample

from quantplay.errors import Fault
from quantplay.plan_file import read_plan
from quantplay.plays.check import CheckReport, check_plan


def told(faults: tuple[Fault, ...], *parts: str) -> list[Fault]:
    return [fault for fault in faults if all(part in str(fault) for part in parts)]


def checked(folder: Path, text: str = PLAN, spoil: Callable[[Path], object] = lambda folder: None) -> CheckReport:
    path = write_sample(folder, text)
    spoil(folder)
    return check_plan(path)


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def changed(path: Path, number: int, **values: object) -> None:
    rows = rows_of(path)
    rows[number] |= values
    write_jsonl(path, rows)


def test_a_good_plan_has_no_faults_and_shows_what_is_frozen(tmp_path: Path) -> None:
    report = checked(tmp_path)
    plan = read_plan(tmp_path / "plan.yaml")
    assert report.faults == ()
    assert report.good
    assert (report.plan, report.gate) == (plan.digest(), plan.gate_digest())
    assert {one.name: one.entries for one in report.sets} == {"gate": 60, "dev": 16, "heldout": 4, "calibration": 130}
    assert CheckReport.model_validate_json(report.model_dump_json()) == report


# (in the plan, instead, the line of, parts of the fault)
BAD_PLANS: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("[Q4_K_M, Q5_K_M]", "[Q4_K, Q5_K_M]", "types:", ("envelope.types[1]: unknown serving type", "did you mean `Q4_K_", "Q8_0")),
    ("[Q4_K_M, Q5_K_M]", "[q4_k_m]", "types:", ("did you mean `Q4_K_M`?",)),
    ("[Q4_K_M, Q5_K_M]", "[Q4_K_M, Q4_K_M]", "types:", ("envelope.types[2]: stands twice",)),
    ("[Q4_K_M, Q5_K_M]", "[F32]", "types:", ("is full precision",)),
    ("reasoning: {max_drop: 20.0, broken_drop: 40.0}", "reasoning: {max_drop: 20, broken_drop: 20}", "reasoning: {", ("not above max_drop", "`broken_drop: 40`")),
    ("broken_drop: 60.0", "broken_drop: 30.0", "broken_drop: 30.0", ("gate.hardest.broken_drop", "more than 40")),
    ("broken_loss_rise: 0.2", "broken_loss_rise: 0.05", "broken_loss_rise", ("gate.hardest.broken_loss_rise", "more than 0.1")),
    ("    reasoning: {max", "    resoning: {max", "resoning", ("gate.slices.resoning: the plan describes no such slice", "did you mean `reasoning`?")),
    ("    output_format: {max_drop: 20.0, broken_drop: 40.0}\n", "", "    output_format:", ("the gate has no tolerance for this slice", "output_format")),
    ("    output_format:\n      title: Formats", "    output_format:\n      title: Formats\n    hardest:\n      title: x", "      title: x", ("this name is taken",)),
    ("  context_tokens: 128", "  context_tokens: 40", "context_tokens", ("the longest prompt and an answer don't fit", "decoding.max_tokens is 16")),
    ("  max_tokens: 16", "  max_tokens: 1", "max_tokens", ("expected answers are longer", "at least 2")),
    ('stop: ["\\n"]', 'stop: ["1"]', "stop:", ("expected answers hold the stop text", "'1' in ")),
    ('stop: ["\\n"]', 'stop: [""]', "stop:", ("an empty text stops every answer",)),
    ("  samples: 128", "  samples: 500", "samples:", ("the file holds fewer", "500 asked for, 130 there")),
    ("  gate: gate.jsonl", "  gate: gates.jsonl", "gates.jsonl", ("evaluation.gate: there is no such file", "did you mean `gate.jsonl`?")),
    ("  heldout: heldout.jsonl", "  heldout: .", "heldout: .", ("evaluation.heldout: is a folder",)),
    ("  heldout: heldout.jsonl", "  heldout: " + "x" * 400, "xxx", ("can't be read",)),
    ("  heldout: heldout.jsonl", "  heldout: heldout.jsonl\n  tasks: [none.yaml]\n  allow_code: [other.yaml]", "tasks:", ("evaluation.tasks.0: there is no such file",)),
    ("  heldout: heldout.jsonl", "  heldout: heldout.jsonl\n  allow_code: [other.yaml]", "allow_code", ("no task file has this name", "other.yaml")),
    ("  source: model", "  source: org/name", "source:", ("a hub id needs the commit it is pinned to", "a branch or tag moves")),
    ("  source: model", "  source: missing", "source:", ("there is no such folder",)),
    ("  source: model", "  source: " + "x" * 400, "source:", ("there is no such folder",)),
    ("  source: model", "  source: ~nobody-of-this-name/x", "source:", ("there is no such folder",)),
    ("  source: model", "  source: model\n  commit: " + "a" * 40, "commit:", ("belongs to a hub id", "remove `commit`")),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "fragment", "parts"), BAD_PLANS, ids=[f"{n}-{case[1][:24].strip()}" for n, case in enumerate(BAD_PLANS)])  # fmt: skip
def test_a_plan_that_cannot_run(tmp_path: Path, old: str, new: str, fragment: str, parts: tuple[str, ...]) -> None:
    text = edited(old, new)
    report = checked(tmp_path, text)
    found = told(report.faults, *parts)
    assert found, "\n".join(map(str, report.faults))
    assert not report.good
    if "can't be read" in parts:
        return
    lines = [number for number, line in enumerate(text.splitlines(), 1) if fragment in line]
    if fragment == "      title: x":
        lines = [line_of("    hardest:", text)]
    assert found[0].where in {f"{tmp_path / 'plan.yaml'}:{line}" for line in lines}


IMPORTED = PLAN.replace("[Q4_K_M, Q5_K_M]", "[Q4_K_M]") + f"imported: {'0a' * 32}\n"


def test_a_plan_for_an_imported_artifact_asks_for_nothing_that_makes_another(tmp_path: Path) -> None:
    report = checked(tmp_path / "good", IMPORTED)
    assert report.faults == ()
    assert report.room is None
    bad = (
        IMPORTED.replace("[Q4_K_M]", "[]").replace("attempts: 1", "attempts: 2")
        + "mixed_precision: {growth_percent: 10}\n"
    )
    faults = checked(tmp_path / "bad", bad).faults
    assert told(faults, "envelope.types: an imported artifact has one type")
    assert told(faults, "gate.attempts: an imported artifact is looked at once")
    assert told(faults, "mixed_precision: would make another artifact")
    assert told(checked(tmp_path / "short", PLAN + "imported: 0a0a\n").faults, "imported")


def test_a_slice_the_plan_forgot_and_one_the_data_lacks(tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        rows = rows_of(folder / "gate.jsonl")
        write_jsonl(
            folder / "gate.jsonl",
            [{**row, "slice": "reasonning" if row["slice"] == "reasoning" else row["slice"]} for row in rows],
        )

    faults = checked(tmp_path, spoil=spoil).faults
    assert told(
        faults, "holds a slice the plan does not describe", "reasonning (30 items)", "did you mean `reasoning`?"
    )
    assert told(faults, "evaluation.slices.reasoning: no item of the gate file is of this slice")


@pytest.mark.parametrize("key", ["id", "document", "prompt"])
def test_splits_that_share_something(tmp_path: Path, key: str) -> None:
    report = checked(
        tmp_path, spoil=lambda folder: changed(folder / "dev.jsonl", 3, **{key: rows_of(folder / "gate.jsonl")[5][key]})
    )
    assert told(report.faults, "evaluation.dev: 1 ", f"{key}s stand in the gate split too")


def test_a_prompt_inside_a_calibration_sample(tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        prompt = str(rows_of(folder / "gate.jsonl")[7]["prompt"])
        changed(folder / "calibration.jsonl", 9, text=f"hello  there, {prompt.upper()}\n8 bye")

    report = checked(tmp_path, spoil=spoil)
    assert told(report.faults, "calibration.overlap: 1 prompt of the gate split stands", "gate-reasoning-7 in c-9")


def test_a_heldout_text_in_the_calibration(tmp_path: Path) -> None:
    report = checked(
        tmp_path, spoil=lambda folder: changed(folder / "calibration.jsonl", 2, text="another talk, of number 3")
    )
    assert told(report.faults, "1 text of the held-out set stands in calibration samples", "h-3 in c-2")


def test_faults_of_every_file_and_of_the_plan_come_together(tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        (folder / "gate.jsonl").write_text('{"id": "a"}\nnonsense\n')
        (folder / "heldout.jsonl").write_bytes(b"\xff\n")
        (folder / "calibration.jsonl").write_text("")
        (folder / "model" / "pytorch_model.bin").write_bytes(b"x")
        (folder / "model" / "model.safetensors").write_bytes(b"x")

    text = edited("profile: internal", "profile: inernal", edited("[Q4_K_M, Q5_K_M]", "[Q99]"))
    report = checked(tmp_path, text, spoil)
    assert (report.plan, report.gate, report.power) == (None, None, None)
    for parts in (
        ("did you mean `internal`",), ("Q99", "unknown serving type"), (f"{tmp_path / 'gate.jsonl'}:1", "missing"),
        (f"{tmp_path / 'gate.jsonl'}:2",), (f"{tmp_path / 'heldout.jsonl'}:1",), (str(tmp_path / "calibration.jsonl"),),
        ("pytorch_model.bin", "pickle"), ("model.safetensors",),
    ):  # fmt: skip
        assert told(report.faults, *parts), parts
    places = [fault.where for fault in report.faults if fault.where.startswith(str(tmp_path / "plan.yaml"))]
    assert places == sorted(places, key=lambda place: int(place.rpartition(":")[2]))
    assert report.faults[: len(places)] == tuple(fault for fault in report.faults if fault.where in places)


def test_code_in_a_task_file_needs_leave(tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        (folder / "task.yaml").write_text(
            "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: {test: gate.jsonl}}\ntest_split: test\n"
            "doc_to_text: !function code.text\ndoc_to_target: '{{answer}}'\n"
        )
        (folder / "code.py").write_text("raise SystemExit('this must not run')\n")

    text = edited("  heldout: heldout.jsonl", "  heldout: heldout.jsonl\n  tasks: [task.yaml]")
    assert told(checked(tmp_path / "a", text, spoil).faults, "runs Python code", "allow_code")
    allowed = edited("  tasks: [task.yaml]", "  tasks: [task.yaml]\n  allow_code: [task.yaml]", text)
    assert checked(tmp_path / "b", allowed, spoil).faults == ()


def test_a_pinned_hub_model_is_not_fetched(tmp_path: Path) -> None:
    report = checked(tmp_path, edited("  source: model", "  source: org/name\n  commit: " + "a" * 40))
    assert report.faults == ()
    assert told(report.warnings, "is fetched and checked when the plan runs")


def test_warnings_stop_nothing(tmp_path: Path) -> None:
    text = edited("[Q4_K_M, Q5_K_M]", "[Q2_K]", edited("profile: internal", "profile: explore"))

    def spoil(folder: Path) -> None:
        write_jsonl(folder / "dev.jsonl", [row for row in rows_of(folder / "dev.jsonl") if row["slice"] == "reasoning"])

    report = checked(tmp_path, text, spoil)
    assert report.good
    for parts in (
        ("fewer than 4 bits", "Q2_K"),
        ("explore never",),
        ("dev", "output_format"),
    ):
        assert told(report.warnings, *parts), parts


def test_power_says_which_slice_needs_how_many_items(tmp_path: Path) -> None:
    tight = edited(
        "    reasoning: {max_drop: 20.0, broken_drop: 40.0}", "    reasoning: {max_drop: 2.0, broken_drop: 4.0}"
    )
    report = checked(tmp_path, tight)
    assert report.good
    assert report.power is not None
    rows = {row.slice: row for row in report.power.rows}
    assert list(rows) == ["reasoning", "output_format", "hardest"]
    assert (rows["reasoning"].items, rows["reasoning"].clusters, rows["hardest"].items) == (30, 30, 30)
    needed = rows["reasoning"].items_needed
    assert needed is not None
    assert needed > 500
    assert told(report.warnings, "even a lossless candidate", f"reasoning needs {needed:,} items, has 30")
    assert not told(checked(tmp_path / "wide").warnings, "even a lossless candidate")


def test_a_model_without_its_own_tokenizer_file_is_not_counted(tmp_path: Path) -> None:
    def spoil(folder: Path) -> None:
        (folder / "model" / "tokenizer.json").unlink()
        (folder / "model" / "tokenizer.model").write_bytes(b"x")

    assert checked(tmp_path, edited("  context_tokens: 128", "  context_tokens: 17"), spoil).faults == ()


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    code = (
        "import sys; from pathlib import Path; from quantplay.plays.check import check_plan; "
        f"assert check_plan(Path({str(path)!r})).good; "
        "print([m for m in ('torch', 'transformers', 'prefect', 'sqlalchemy', 'lm_eval', 'llama_cpp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PILOT = Path(__file__).parents[2] / "examples" / "pilot"


@pytest.mark.parametrize("path", sorted(PILOT.glob("plan*.yaml")), ids=lambda path: path.stem)
def test_the_pilot_plans_can_run_and_have_the_power_they_claim(path: Path) -> None:
    report = check_plan(path)
    assert report.faults == ()
    assert report.power is not None
    assert report.power.enough
