"""A plan beside the organisation's standards: what `quantplay check` says, what a run refuses, what a package tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from factories import made_package, made_run
from plan_samples import ITEMS, PLAN, edited, line_of, write_sample

from quantplay.errors import Fault, PlanError
from quantplay.handoff import layout
from quantplay.handoff.contents import Attempt
from quantplay.handoff.manifest import manifest_of
from quantplay.handoff.pack import write_package
from quantplay.handoff.verify import verify
from quantplay.plan import WAIVABLE
from quantplay.plan_file import plan_from_text, read_plan
from quantplay.plays.check import CheckReport, check_plan
from quantplay.plays.pin import locate
from quantplay.plays.standards import check_of_plan, require_standards, shortfalls
from quantplay.records import Decision, Departure, StandardsCheck
from quantplay.standards import Standards, read_standards

ROOT = Path(__file__).parents[2]
RULES = """\
schema: 1
version: 7
title: Test standards
runtimes:
  llama.cpp: {types: [Q4_K_M, Q5_K_M, Q3_K_M], minimum_bits: 4, fewer_bits_from_attempts: 2, when_to_deviate: a phone}
use_cases:
  default: {title: Everything, max_drop: 20, hardest_max_drop: 40, max_loss_rise: 0.1, minimum_items: 30}
  strict:
    title: Read by a program
    max_drop: 20
    minimum_items: 40
    slices: {output_format: {max_drop: 5, minimum_items: 20}, arithmetic: {required: true}}
    profiles: [production]
calibration: {minimum_samples: 128, maximum_samples: 256, waivers: [calibration.count]}
profiles:
  internal: {parts: [trade_off], owners: [ml_engineer, product_owner]}
"""
DEVIATES = "deviations:\n  - rule: envelope.target_chip\n    reason: the layers are narrow\n"
PLAIN = PLAN.replace(DEVIATES, "")


def rules(folder: Path, *pairs: tuple[str, str]) -> Standards:
    text = RULES
    for old, new in pairs:
        text = edited(old, new, text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "standards.yaml").write_text(text)
    return read_standards(folder / "standards.yaml")


def checked(folder: Path, text: str, *pairs: tuple[str, str]) -> CheckReport:
    return check_plan(write_sample(folder / "plan", text), standards=rules(folder, *pairs))


def waived(*names: str, text: str = PLAIN) -> str:
    entries = "".join(f"  - rule: {name}\n    reason: because it is a test\n" for name in names)
    return f"{text}deviations:\n{entries}"


def of_standards(faults: tuple[Fault, ...]) -> list[str]:
    return [str(fault) for fault in faults if "standards." in str(fault)]


def test_a_plan_that_follows_them_is_told_so(tmp_path: Path) -> None:
    report = checked(tmp_path, PLAIN)
    assert report.good, report.faults
    assert report.standards is not None
    assert (report.standards.version, report.standards.use_case, report.standards.departures) == (7, "default", ())
    assert check_plan(tmp_path / "plan" / "plan.yaml").standards is None


DEPARTURES = [
    ("standards.types", "types: [Q4_K_M, Q5_K_M]", "types: [Q4_K_M, Q4_0]", (), "types: [Q4_K_M", "Q4_0 is not in use"),
    ("standards.bits", "types: [Q4_K_M, Q5_K_M]", "types: [Q3_K_M]", (), "types: [Q3_K_M", "1 fewer bits"),
    ("standards.tolerance", "reasoning: {max_drop: 20.0", "reasoning: {max_drop: 22.5", (), "max_drop: 22.5", "2.5 points more"),
    ("standards.tolerance", "max_drop: 40.0\n", "max_drop: 41.0\n", (), "max_drop: 41", "the hardest items may lose 1 points more"),
    ("standards.tolerance", "max_loss_rise: 0.1", "max_loss_rise: 0.15", (), "max_loss_rise", "0.05 nats more"),
    ("standards.items", "name: sample", "name: sample", (("minimum_items: 30", "minimum_items: 50"),), "gate: gate.jsonl", "has 20 items fewer"),
    ("standards.samples", "samples: 128", "samples: 128", (("minimum_samples: 128", "minimum_samples: 200"),), "samples: 128", "72 samples fewer"),
    ("standards.parts", "trade_off: Smaller for a little worse.\n", "", (), None, "trade_off is left out"),
    ("standards.owners", "name: sample", "name: sample", (("product_owner]", "on_call]"),), "owners:", "nobody is named as on_call"),
    ("standards.profile", "name: sample", "name: sample\nuse_case_class: strict", (("arithmetic: {required: true}", ""), ("max_drop: 5,", "max_drop: 20,"), ("minimum_items: 40", "minimum_items: 30")), "profile: internal", "not locked under profile internal"),
    ("standards.slices", "name: sample", "name: sample\nuse_case_class: strict", (("profiles: [production]\n", "profiles: [internal]\n"), ("max_drop: 5,", "max_drop: 20,"), ("minimum_items: 40", "minimum_items: 30")), "gate:\n", "needs a slice called arithmetic"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "old", "new", "raised", "where", "words"), DEPARTURES)
def test_a_departure_is_a_fault_with_its_line_and_a_reason_makes_it_none(
    tmp_path: Path, rule: str, old: str, new: str, raised: tuple[tuple[str, str], ...], where: str | None, words: str
) -> None:
    text = edited(old, new, PLAIN) if old != new else PLAIN
    report = checked(tmp_path / "a", text, *raised)
    found = of_standards(report.faults)
    assert found, report.faults
    assert all(rule in one for one in found)
    assert any(words in one for one in found), found
    assert f"`deviations: [{{rule: {rule}, reason: ...}}]`" in found[0]
    if where is not None and "\n" not in where:
        number = line_of(where, text) if text.count(where) == 1 else None
        assert number is None or any(f"plan.yaml:{number}: " in one for one in found), (number, found)
    accepted = checked(tmp_path / "b", waived(rule, text=text), *raised)
    assert of_standards(accepted.faults) == []
    assert accepted.good, accepted.faults
    assert accepted.standards is not None
    assert {one.reason for one in accepted.standards.departures} == {"because it is a test"}
    assert accepted.standards.open == ()


def test_the_list_above_has_every_rule() -> None:
    assert {one[0] for one in DEPARTURES} == {rule for rule in WAIVABLE if rule.startswith("standards.")}


def test_fewer_bits_are_fine_where_there_is_room_to_mend_it(tmp_path: Path) -> None:
    text = edited("types: [Q4_K_M, Q5_K_M]", "types: [Q3_K_M]", edited("attempts: 1", "attempts: 2", PLAIN))
    assert of_standards(checked(tmp_path, text).faults) == []


def test_when_to_deviate_is_told_beside_the_departure(tmp_path: Path) -> None:
    text = edited("types: [Q4_K_M, Q5_K_M]", "types: [Q4_0]", PLAIN)
    assert "when to deviate: a phone" in of_standards(checked(tmp_path, text).faults)[0]


def test_types_the_planner_would_choose_are_compared_too(tmp_path: Path) -> None:
    text = edited("  types: [Q4_K_M, Q5_K_M]\n", "", PLAIN)
    assert any("IQ4_XS is not in use" in one for one in of_standards(checked(tmp_path, text).faults))


def test_a_slice_may_have_rules_of_its_own(tmp_path: Path) -> None:
    text = edited("name: sample", "name: sample\nuse_case_class: strict", PLAIN)
    found = of_standards(checked(tmp_path, text).faults)
    assert sum("standards.tolerance" in one for one in found) == 1  # output_format alone
    assert any("slice output_format may lose 15 points more" in one for one in found)
    assert sum("standards.items" in one for one in found) == 1  # reasoning alone: output_format needs 20 and has 30
    assert any("slice reasoning has 10 items fewer" in one for one in found)


def test_an_unknown_use_case_is_refused_whatever_the_reason(tmp_path: Path) -> None:
    text = edited("name: sample", "name: sample\nuse_case_class: strct", PLAIN)
    report = checked(tmp_path, text)
    assert "did you mean `strict`?" in of_standards(report.faults)[0]
    assert check_plan(tmp_path / "plan" / "plan.yaml").good  # without standards the word says nothing


def test_a_waiver_that_they_do_not_allow_is_refused_whatever_the_reason(tmp_path: Path) -> None:
    report = checked(tmp_path, waived("calibration.overlap"))
    found = of_standards(report.faults)
    assert len(found) == 1
    assert "standards.waivers: calibration.overlap may not be accepted here" in found[0]
    assert "or accept it" not in found[0]


def test_one_reason_is_enough_for_too_few_samples(tmp_path: Path) -> None:
    text = waived("calibration.count", text=edited("samples: 128", "samples: 64", PLAIN))
    report = checked(tmp_path / "a", text)
    assert report.good, report.faults
    assert report.standards is not None
    assert [one.rule for one in report.standards.departures] == ["standards.samples"]
    forbidden = checked(tmp_path / "b", text, ("waivers: [calibration.count]", "waivers: []"))
    assert len(of_standards(forbidden.faults)) == 2


def test_a_reason_for_nothing_is_told(tmp_path: Path) -> None:
    text = waived("standards.items")
    assert any("accepts nothing, the plan follows" in str(one) for one in checked(tmp_path, text).warnings)
    told = [str(one) for one in check_plan(tmp_path / "plan" / "plan.yaml").warnings]
    assert any("accepts nothing, no standards apply here" in one for one in told)


def test_looking_around_is_told_and_not_stopped(tmp_path: Path) -> None:
    text = edited("profile: internal", "profile: explore", edited("types: [Q4_K_M, Q5_K_M]", "types: [Q4_0]", PLAIN))
    report = checked(tmp_path, text)
    assert report.good, report.faults
    assert of_standards(report.warnings)


def test_departures_are_told_while_the_plan_has_other_faults(tmp_path: Path) -> None:
    text = edited("types: [Q4_K_M, Q5_K_M]", "types: [Q4_0]", edited("seed: 3", "seed: three", PLAIN))
    assert of_standards(checked(tmp_path, text).faults)


def test_a_run_compares_what_the_check_compares_and_refuses(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "plan", edited("types: [Q4_K_M, Q5_K_M]", "types: [Q4_0]", PLAIN))
    standards = rules(tmp_path)
    plan = read_plan(path)
    check = check_of_plan(plan, locate(plan, path.parent), standards)
    assert check == check_plan(path, standards=standards).standards
    with pytest.raises(PlanError, match="Q4_0 is not in use"):
        require_standards(check, plan, str(path))
    require_standards(check, plan.model_copy(update={"profile": "explore"}), str(path))


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("plan*.yaml")), ids=lambda path: path.stem)
def test_the_pilot_follows_the_standards_that_ship(path: Path) -> None:
    plan = read_plan(path)
    check = check_of_plan(plan, locate(plan, path.parent), read_standards(ROOT / "deployments" / "standards.yaml"))
    assert check.departures == ()


def test_a_locked_model_is_compared_by_what_was_measured(tmp_path: Path) -> None:
    run = made_run("pass")
    assert run.decision is not None
    score = next(one for one in run.decision.slices if one.metric == "score" and one.slice != "hardest")
    lax = rules(tmp_path, ("max_drop: 20, hardest_max_drop: 40, max_loss_rise: 0.1", "max_drop: 20"), ("minimum_items: 30", "minimum_items: 1"), ("parts: [trade_off], ", ""))  # fmt: skip
    given = {"decision": run.decision, "kind": "Q4_K_M", "samples": 256}
    assert shortfalls(lax, run.plan, **given) == ()
    bound = score.upper - 0.25
    raised = rules(tmp_path, ("max_drop: 20, hardest_max_drop: 40, max_loss_rise: 0.1", f"max_drop: {bound}"), ("minimum_items: 30", f"minimum_items: {score.items + 7}"), ("parts: [trade_off], ", ""))  # fmt: skip
    found = {one.what: one for one in shortfalls(raised, run.plan, **given)}
    assert any(f"slice {score.slice} lost up to 0.25 points more" in what for what in found), found
    assert any(f"slice {score.slice} has 7 items fewer" in what for what in found)
    [kind] = shortfalls(lax, run.plan, **{**given, "kind": "Q2_K"})[:1]
    assert (kind.rule, kind.found) == ("standards.types", "Q2_K")


def test_run_refuses_it_before_anything_is_started(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "plan", edited("types: [Q4_K_M, Q5_K_M]", "types: [Q4_0]", PLAIN))
    rules(tmp_path)
    home = tmp_path / "home"
    here = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    here |= {"QUANTPLAY_HOME": str(home), "QUANTPLAY_STANDARDS": str(tmp_path / "standards.yaml")}
    command = [sys.executable, "-m", "quantplay.cli", "run", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=here, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert [one["what"] for one in json.loads(done.stdout)["error"]["faults"]] == [
        "standards.types: Q4_0 is not in use for llama.cpp"
    ]
    assert not home.exists()


# --- in the package ---------------------------------------------------------------------------------------------------

REASON = "The depot has no <other> chip."


def departing_package(folder: Path, reason: str = REASON) -> Path:
    contents = made_package(folder / "in")
    text = f"{contents.plan_text}deviations:\n  - rule: standards.types\n    reason: {REASON}\n"
    plan = plan_from_text(text, Path("plan.yaml")).plan
    assert plan is not None
    departure = Departure(
        rule="standards.types", place=("envelope", "types"), what="Q4_K_M is not in use for llama.cpp", standard="Q8_0",
        found="Q4_K_M", fix="`types: [Q8_0]`", reason=reason,
    )  # fmt: skip
    check = StandardsCheck(
        standards="a" * 64, version=7, title="House rules", use_case="default", departures=(departure,)
    )
    decision = contents.decision.model_copy(update={"standards": check})
    attempts = (Attempt.of(contents.artifact, contents.evaluation, decision),)
    contents = replace(contents, plan=plan, plan_text=text, decision=decision, attempts=attempts)
    return Path(write_package(contents, folder / "out").path)


def test_a_package_shows_departure_and_reason_everywhere_and_verifies(tmp_path: Path) -> None:
    package = departing_package(tmp_path)
    problems = verify(package, signatures_due=False).problems
    assert [str(one) for one in problems if "calibration" not in str(one)] == []
    for name in (layout.README, layout.CARD, layout.REPORT):
        text = (package / name).read_text()
        assert "Deviates from the standards (version 7" in text, name
        assert "The depot has no" in text, name
        assert "<other>" not in text, name
        assert "a" * 64 in text, name


def test_another_reason_than_the_plan_gives_is_found_out(tmp_path: Path) -> None:
    package = departing_package(tmp_path, reason="All is well with it.")
    assert any("another reason than the plan's" in str(one) for one in verify(package, signatures_due=False).problems)


def test_a_departure_without_a_reason_is_found_out(tmp_path: Path) -> None:
    package = departing_package(tmp_path)
    for name in (layout.DECISION, layout.ATTEMPTS):
        body = json.loads((package / name).read_bytes())
        decision = body if name == layout.DECISION else body[0]["decision"]
        decision["standards"]["departures"][0]["reason"] = None
        (package / name).write_bytes(layout.json_bytes(body))
    manifest = manifest_of(package, json.loads((package / layout.RUN).read_bytes())["run"])
    (package / layout.MANIFEST).write_bytes(manifest.to_bytes())
    assert any("without a reason" in str(one) for one in verify(package, signatures_due=False).problems)


def test_records_without_standards_keep_their_digests() -> None:
    decision = made_run("pass").decision
    assert decision is not None
    assert "standards" not in decision.body()
    assert Decision.model_validate(decision.body()).standards is None
    plan = yaml.safe_load(PLAIN)
    assert "use_case_class" not in plan
    assert "use_case_class" not in made_run("pass").plan.body()
    assert ITEMS == 30
