"""Reading a plan: every fault with its line, and what to do about it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from plan_samples import PLAN, edited, line_of

from quantplay.errors import PlanError
from quantplay.plan import Plan
from quantplay.plan_file import load_plan, plan_from_text, read_plan
from quantplay.plan_file.yaml_tree import MAX_BYTES

# (what is replaced, by what, the fragment whose line the fault names or the line, parts of the fault's text)
BAD: list[tuple[str, str, str | int, tuple[str, ...]]] = [
    # unknown and missing keys
    ("use_case:", "usecase:", "usecase", ("unknown key `usecase`", "did you mean `use_case`?")),
    ("  samples:", "  sample:", "sample: 128", ("calibration.sample", "did you mean `samples`?")),
    ("  source: model", "  source: model\n  commmit: abc", "commmit", ("did you mean `commit`?",)),
    ("  batch: 2", "  batch: 2\n  max_tokens: 3", "max_tokens: 3", ("belongs under `decoding`", "indentation")),
    ("seed: 3", "seed: 3\nzzz: 1", "zzz", ("unknown key `zzz`", "remove it", "use_case")),
    ("    share: 0.5", "    share: 0.5\n    stop: []", "stop: []", ("gate.hardest.stop", "belongs under `decoding`")),
    ("      title: Formats", "      fragile: true ", "output_format:\n", ("`evaluation.slices.output_format.title` is missing",)),
    ("profile: internal\n", "", 1, ("`profile` is missing", "one of production, internal, explore", "add `profile:`")),
    ("  product_owner: grace\n", "", "owners:", ("`owners.product_owner` is missing", "under `owners:`")),
    ("    max_loss_rise: 0.1\n", "", "hardest:", ("`gate.hardest.max_loss_rise` is missing", "more than 0")),
    ("model:\n  source: model\n", "", 1, ("`model` is missing", "source, commit")),
    # choices
    ("profile: internal", "profile: internl", "profile:", ("profile: is not one of the choices", "found internl", "did you mean `internal`?")),
    ("profile: internal", "profile: Production", "profile:", ("did you mean `production`?",)),
    ("  runtime: llama.cpp", "  runtime: ollama", "runtime:", ("envelope.runtime", "found ollama", "allowed: one of llama.cpp")),
    ("  bottleneck: memory", "  bottleneck: memmory", "bottleneck", ("did you mean `memory`?", "latency")),
    ("  device: cpu", "  device: cpus", "device:", ("envelope.device", "did you mean `cpu`?")),
    # forms
    ("name: sample", "name: My Model", "name: My", ("name: does not have the form", "lower-case")),
    ("name: sample", 'name: ""', 'name: ""', ("name:", 'found ""')),
    ("name: sample", "name:", "name:\n", ("name: should be text", "found nothing", "write a value")),
    ("  source: model", "  source: org/name\n  commit: main", "commit:", ("model.commit", "found main", "Full commit")),
    ("use_case: Answers questions in a test.", "use_case: [a, b]", "use_case", ("should be text", "a list of 2")),
    ("use_case: Answers questions in a test.", "use_case: 5", "use_case", ("should be text", 'put it in quotes: "5"')),
    ("    reason: the layers are narrow", "    reason: short", "reason: short", ("deviations[1].reason", "at least 8 characters")),
    # numbers
    ("seed: 3", "seed: -1", "seed:", ("seed: is out of range", "found -1", "at least 0")),
    ("seed: 3", "seed: 4294967296", "seed:", ("out of range", "less than 4294967296")),
    ("seed: 3", "seed: 1.5", "seed:", ("should be a whole number", "found 1.5")),
    ("seed: 3", 'seed: "3"', "seed:", ("should be a whole number", 'found "3"', "remove the quotes")),
    ("seed: 3", "seed: 0x10", "seed:", ("should be a whole number", "found 0x10")),
    ("seed: 3", "seed: 010", "seed:", ("should be a whole number", "found 010")),
    ("seed: 3", "seed: 1_000", "seed:", ("should be a whole number", "found 1_000")),
    ("seed: 3", "seed: 1:30", "seed:", ("should be a whole number", "found 1:30")),
    ("seed: 3", "seed: " + "9" * 5000, "seed:", ("too large a number",)),
    ("seed: 3", "seed: true", "seed:", ("should be a whole number", "found true")),
    ("    share: 0.5", "    share: .nan", "share:", ("gate.hardest.share: is not a finite number", "found .nan")),
    ("    share: 0.5", "    share: -.inf", "share:", ("not a finite number",)),
    ("    share: 0.5", "    share: 1e999", "share:", ("too large a number",)),
    ("    share: 0.5", "    share: 0", "share:", ("out of range", "more than 0", "at most 0.5")),
    ("    share: 0.5", "    share: 50 %", "share:", ("should be a number", "found 50 %")),
    ("  expected_flip_rate: 0.05", "  expected_flip_rate: 5", "flip_rate", ("out of range", "at most 1")),
    ("  attempts: 1", "  attempts: 0", "attempts", ("out of range", "at least 1", "5 %/N")),
    ("    reasoning: {max_drop: 20.0,", "    reasoning: {max_drop: 200.0,", "200.0", ("gate.slices.reasoning.max_drop", "at most 100")),
    # kinds
    ("      fragile: true", "      fragile: no", "fragile", ("should be true or false", "found no", "write false")),
    ("      fragile: true", "      fragile: 1", "fragile", ("should be true or false", "found 1")),
    ("      fragile: true", '      fragile: "true"', "fragile", ("should be true or false", "remove the quotes")),
    ("  types: [Q4_K_M, Q5_K_M]", "  types: Q4_K_M", "types:", ("should be a list of texts", "`[Q4_K_M]`")),
    ("  types: [Q4_K_M, Q5_K_M]", "  types: [Q4_K_M, 5]", "types:", ("envelope.types[2]: should be text", "found 5")),
    ("model:\n  source: model", "model: model", "model: model", ("model: should be a part with the keys source, commit",)),
    ("deviations:\n  - rule: envelope.target_chip\n    reason: the layers are narrow", "deviations: {}", "deviations:", ("deviations: should be a list of parts",)),
    ("owners:\n  ml_engineer: ada\n  product_owner: grace", "owners:", "owners:", ("owners: should be a part with the keys", "found nothing")),
    ("    reasoning: {max_drop: 20.0, broken_drop: 40.0}\n    output_format: {max_drop: 20.0, broken_drop: 40.0}", "    {}", 36, ("gate.slices: is empty",)),
    # YAML itself
    ("seed: 3", "seed: 3\nseed: 4", "seed: 4", ("key `seed` stands twice", "line 6", "keep one")),
    ("  batch: 2", "  batch: 2\n  batch: 2", 33, ("key `envelope.batch` stands twice", "line 32")),
    ("seed: 3", "seed: &a 3", "seed:", ("an anchor", "remove the anchor")),
    ("name: sample", "name: &n sample\nuse_case_: *n", "*n", ("an alias", "write the value out")),
    ("name: sample", "name: !!python/object/apply:os.system [echo]", "python", ("a YAML tag", "os.system", "remove the tag")),
    ("name: sample", "name: !secret sample", "secret", ("a YAML tag", "!secret")),
    ("owners:", "? [a, b]\n: 1\nowners:", "? [a", ("a key is not a word",)),
    ("  batch: 2", "\tbatch: 2", "\tbatch", ("a tab indents this line", "two spaces")),
    ("  batch: 2", "  batch: 2\n bad: 1", " bad: 1", ("is not valid YAML",)),
    ("use_case: Answers questions in a test.", "use_case: Answers: questions", "use_case", ("is not valid YAML", "quotes")),
    ("use_case: Answers questions in a test.", "use_case: `x`", "use_case", ("is not valid YAML", "quotes")),
    ('stop: ["\\n"]', 'stop: ["\\n"', 26, ("is not valid YAML", "opens in line 25")),
    ("deviations:", "---\ndeviations:", "---", ("a second document", "one plan a file")),
    ("name: sample", 'name: "a\\0b"', "name:", ("holds a control character",)),
    ("name: sample", "name: a\x07b", "name:", ("a character YAML does not allow", "U+0007")),
]  # fmt: skip


def where(fragment: str | int, text: str) -> int:
    if isinstance(fragment, int):
        return fragment
    if fragment.endswith("\n"):  # the line that ends here; the first of several
        return next(n for n, line in enumerate(text.splitlines(), 1) if line.endswith(fragment.strip()))
    return line_of(fragment, text)


@pytest.mark.parametrize(("old", "new", "fragment", "parts"), BAD, ids=[f"{n}-{case[1].split(chr(10))[-1].strip()[:30]}" for n, case in enumerate(BAD)])  # fmt: skip
def test_a_bad_plan_says_where_what_and_how(old: str, new: str, fragment: str | int, parts: tuple[str, ...]) -> None:
    text = edited(old, new)
    file = plan_from_text(text, Path("plan.yaml"))
    assert file.plan is None
    expected = f"plan.yaml:{where(fragment, text)}"
    matching = [fault for fault in file.faults if all(part in str(fault) for part in parts)]
    assert matching, "\n".join(map(str, file.faults))
    assert expected in [fault.where for fault in matching]


def test_one_mistake_is_one_fault() -> None:
    """A misspelt required key is not unknown and missing as well; a bad value is not reported by reader and schema."""
    alone = [case for case in BAD if "*n" not in case[1] and "&n" not in case[1]]
    counts = {case[1]: len(plan_from_text(edited(case[0], case[1]), Path("p")).faults) for case in alone}
    assert {text: count for text, count in counts.items() if count != 1} == {}


def test_all_faults_come_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = edited("profile: internal", "profile: x", edited("seed: 3", "seed: -3", edited("name: sample", "name: S")))
    path = tmp_path / "plan.yaml"
    path.write_text(edited("ml_engineer", "ml_enginer", text))
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    lines = [int(fault.where.rpartition(":")[2]) for fault in caught.value.faults]
    assert lines == sorted(lines)
    assert len(lines) == 4
    assert caught.value.exit_code == 2
    assert all(str(fault) in str(caught.value) for fault in caught.value.faults)


def test_a_good_plan_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    plan = read_plan(path)
    assert plan.seed == 3
    assert plan.decoding.stop == ("\n",)
    assert plan.envelope.types == ("Q4_K_M", "Q5_K_M")
    assert Plan.model_validate(plan.body()) == plan


@pytest.mark.parametrize(
    "change",
    [lambda raw: b"\xef\xbb\xbf" + raw, lambda raw: raw.replace(b"\n", b"\r\n"), lambda raw: b"---\n" + raw + b"...\n"],
)
def test_byte_order_mark_line_ends_and_document_marks_change_nothing(tmp_path: Path, change) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(change(PLAN.encode()))
    assert read_plan(path) == plan_from_text(PLAN, path).plan


def test_words_stay_words() -> None:
    """YAML 1.1 would make these false, a date and a number; in a text they are meant as they stand."""
    for word in ("no", "on", "2026-11-21", "1e", "0x1F"):
        plan = plan_from_text(edited("ml_engineer: ada", f"ml_engineer: {word}"), Path("p")).plan
        assert plan is not None
        assert plan.owners.ml_engineer == word


@pytest.mark.parametrize(
    ("raw", "line", "parts"),
    [
        (b"", ":1", ("is empty", "quantplay init")),
        (b"# only a comment\n\n", ":1", ("is empty",)),
        (b"- a\n- b\n", ":1", ("keys with values",)),
        (b"just a text\n", ":1", ("keys with values", "just a text")),
        (PLAN.encode("utf-16"), ":1", ("is UTF-16", "UTF-8")),
        (PLAN.encode().replace(b"sample", b"s\xffmple", 1), ":2", ("is not UTF-8", "0xff")),
        (b"a: " + b"[" * 5000, ":1", ("nested too deeply",)),
        (b"x: " + b"y" * MAX_BYTES, "", ("too large for a plan",)),
        (b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", ":1", ("an anchor",)),
    ],
)
def test_files_that_are_no_plan(tmp_path: Path, raw: bytes, line: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(raw)
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    fault = caught.value.faults[0]
    assert fault.where == f"{path}{line}"
    assert all(part in str(fault) for part in parts), str(fault)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert "no such file" in str(load_plan(tmp_path / "none.yaml").faults[0])
    (tmp_path / "my-plan.yaml").write_text(PLAN)
    assert "my-plan.yaml" in str(load_plan(tmp_path).faults[0])
    assert load_plan(Path("a\0b")).plan is None


def test_every_tab_is_listed() -> None:
    text = edited("  batch: 2", "\tbatch: 2", edited("  device: cpu", "\tdevice: cpu"))
    assert [fault.where for fault in plan_from_text(text, Path("p")).faults] == ["p:28", "p:32"]


def test_a_newer_schema_is_one_fault_and_nothing_else() -> None:
    text = edited("profile: internal", "colour: blue", edited("schema: 1", "schema: 2"))
    faults = plan_from_text(text, Path("p")).faults
    assert len(faults) == 1
    assert faults[0].where == "p:1"
    assert "update quantplay" in str(faults[0])


def test_good_parts_of_a_bad_plan_can_be_used() -> None:
    file = plan_from_text(edited("seed: 3", "seed: x"), Path("p"))
    assert file.plan is None
    assert file.parts["gate"].hardest.share == 0.5
    assert "seed" not in file.parts


def test_digest_of_the_gate_ignores_everything_else() -> None:
    plans = [
        plan_from_text(text, Path("p")).plan
        for text in (PLAN, edited("seed: 3", "seed: 4"), edited("share: 0.5", "share: 0.4"))
    ]
    assert all(plans)
    first, other_seed, other_gate = (plan.gate_digest() for plan in plans if plan)
    assert first == other_seed != other_gate


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, quantplay.plan_file; print([m for m in ('torch', 'numpy', 'scipy', 'prefect', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_descriptions_of_the_schema_end_in_plain_words() -> None:
    """Each field a user can set says what it is: the messages above quote it."""
    page = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
    for name, field in Plan.model_fields.items():
        assert re.search(rf"`{re.escape(field.alias or name)}`", page), name
