"""What a team sees of the calibration checks: faults in `quantplay check`, the error of a run, and waivers."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_samples import PLAN, edited, line_of, write_jsonl, write_sample

from quantplay.errors import Fault, InputError
from quantplay.plan_file import plan_from_text, read_plan
from quantplay.plays.calibration import calibration_of, check_pinned, require_fit
from quantplay.plays.check import CheckReport, check_plan
from quantplay.plays.check_sets import read_sets
from quantplay.plays.pin import pin

WAIVED = PLAN + "  - rule: calibration.count\n    reason: a trial with little data\n"


def checked(folder: Path, text: str) -> CheckReport:
    return check_plan(write_sample(folder, text))


def one(faults: tuple[Fault, ...], *parts: str) -> Fault:
    found = [fault for fault in faults if all(part in str(fault) for part in parts)]
    assert len(found) == 1, faults
    return found[0]


def test_a_defect_is_a_fault_with_its_rule_its_samples_and_both_ways_out(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    lines = (tmp_path / "calibration.jsonl").read_text().splitlines()
    write_back = [*lines[:60], lines[4].replace('"c-4"', '"c-60"'), *lines[61:]]
    (tmp_path / "calibration.jsonl").write_text("\n".join(write_back) + "\n")
    report = check_plan(path)
    fault = one(report.faults, "calibration.duplicates", "c-60 = c-4", "remove the repeats")
    assert fault.where == f"{path}:{line_of('file: calibration.jsonl')}"
    assert "`deviations: [{rule: calibration.duplicates, reason: ...}]`" in str(fault)
    assert report.calibration is not None
    assert report.calibration.figures["repeated_samples"] == 1


def test_only_the_samples_that_are_used_are_looked_at(tmp_path: Path) -> None:
    path = write_sample(tmp_path)  # 128 of 130 are used
    lines = (tmp_path / "calibration.jsonl").read_text().splitlines()
    (tmp_path / "calibration.jsonl").write_text("\n".join([*lines[:129], lines[4].replace('"c-4"', '"c-129"')]) + "\n")
    assert check_plan(path).good


def test_a_waived_defect_stops_nothing(tmp_path: Path) -> None:
    few = edited("  samples: 128", "  samples: 64")
    assert one(checked(tmp_path / "a", few).faults, "calibration.count", "64 samples", "128 to 512")
    report = checked(tmp_path / "b", edited("  samples: 128", "  samples: 64", WAIVED))
    assert report.good
    assert report.calibration is not None
    assert [finding.waiver for finding in report.calibration.findings] == ["a trial with little data"]


def test_a_waiver_holds_while_the_plan_has_other_faults(tmp_path: Path) -> None:
    report = checked(
        tmp_path, edited("  samples: 128", "  samples: 64", edited("profile: internal", "profile: x", WAIVED))
    )
    assert [fault.where for fault in report.faults] == [f"{tmp_path / 'plan.yaml'}:{line_of('profile: internal')}"]


def test_a_waiver_that_waives_nothing_is_worth_a_look(tmp_path: Path) -> None:
    report = checked(tmp_path, WAIVED)
    assert report.good
    assert one(report.warnings, "deviations[2]: waives nothing", "calibration.count")


def test_a_waiver_of_no_rule_is_a_fault(tmp_path: Path) -> None:
    report = checked(tmp_path, edited("calibration.count", "calibration.counts", WAIVED))
    assert one(report.faults, "deviations[2].rule: there is no such rule", "did you mean `calibration.count`?")


def test_two_reasons_for_one_rule_are_a_fault(tmp_path: Path) -> None:
    report = checked(tmp_path, WAIVED + "  - rule: calibration.count\n    reason: another trial\n")
    assert one(report.faults, "deviations[3].rule: is waived twice")


def test_traffic_is_read_pinned_and_compared_with(tmp_path: Path) -> None:
    text = edited("  tokens: 64", "  tokens: 64\n  traffic: traffic.jsonl")
    assert one(checked(tmp_path / "a", text).faults, "calibration.traffic: there is no such file")
    path = write_sample(tmp_path / "b", text)
    write_jsonl(
        tmp_path / "b" / "traffic.jsonl",
        [{"id": f"t-{n}", "text": f"SELECT name FROM table_{n} WHERE id = {n};"} for n in range(200)],
    )
    report = check_plan(path)
    assert one(report.faults, "calibration.domain", "Jensen-Shannon", "draw the samples from recent traffic")
    assert [one.name for one in report.sets][-1] == "traffic"
    pinned = pin(read_plan(path), path.parent)
    assert pinned.inputs.traffic is not None
    assert [file.path for file in pinned.inputs.traffic.files] == ["traffic.jsonl"]


def test_a_run_refuses_what_the_check_refuses(tmp_path: Path) -> None:
    path = write_sample(tmp_path, edited("  samples: 128", "  samples: 64"))
    plan = read_plan(path)
    check = check_pinned(plan, pin(plan, tmp_path))
    assert check == check_plan(path).calibration
    with pytest.raises(InputError, match=r"calibration\.count") as raised:
        require_fit(check)
    assert raised.value.exit_code == 2
    assert len(raised.value.faults) == 1


PILOT = Path(__file__).parents[2] / "examples" / "pilot"


@pytest.mark.parametrize("name", ["plan-pass.yaml", "plan-close.yaml", "plan-broken.yaml"])
def test_the_pilots_own_set_has_no_defect(name: str) -> None:
    report = check_plan(PILOT / name)
    assert report.calibration is not None
    assert report.calibration.findings == ()
    assert report.calibration.figures["divergence_p_value"] > 0.01


def test_another_trade_is_refused_in_the_pilot() -> None:
    text = (PILOT / "plan-pass.yaml").read_text().replace("calibration/traffic.jsonl", "calibration/wrong-domain.jsonl")
    file = plan_from_text(text, PILOT / "plan-pass.yaml")
    sets = read_sets(file, file.parts["evaluation"], file.parts["calibration"], PILOT)
    check = calibration_of(file, sets, PILOT)
    assert check is not None
    assert {finding.rule for finding in check.open} == {"calibration.topic_variety", "calibration.domain"}
