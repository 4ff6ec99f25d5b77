"""The calibration check in package, report, README and card; a package that lies about it is found out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from factories import made_package, made_run

from quantplay.calibration import waivers_of
from quantplay.handoff import layout
from quantplay.handoff.contents import Attempt, PackageContents
from quantplay.handoff.manifest import manifest_of
from quantplay.handoff.markdown import calibration_markdown, gate_markdown
from quantplay.handoff.pack import write_package
from quantplay.handoff.report import render_report
from quantplay.handoff.verify import verify
from quantplay.plan_file import plan_from_text
from quantplay.plays.calibration import MEND, check_pinned
from quantplay.plays.pin import Paths, Pinned
from quantplay.records import CalibrationCheck, CalibrationFinding, Waiver

REASON = "Four samples, to see <every> step once."


def checked_package(folder: Path) -> PackageContents:
    """A package over four calibration samples, whose plan accepts each of their defects."""
    contents = made_package(folder)
    waived = "".join(f"  - rule: {rule}\n    reason: {REASON}\n" for rule in MEND)
    text = f"{contents.plan_text}deviations:\n{waived}"
    plan = plan_from_text(text, Path("plan.yaml")).plan
    assert plan is not None
    paths = Paths(
        model=folder / "model", calibration=folder / "calibration.jsonl", gate=folder / "gate.jsonl",
        dev=folder / "dev.jsonl", heldout=folder / "heldout.jsonl", traffic=None, tasks=(), allow_code=(),
    )  # fmt: skip
    check = check_pinned(plan, Pinned(inputs=contents.inputs, paths=paths))
    return with_check(replace(contents, plan=plan, plan_text=text), check, waivers_of(check))


def with_check(contents: PackageContents, check: CalibrationCheck, waivers: tuple[Waiver, ...]) -> PackageContents:
    decision = contents.decision.model_copy(update={"waivers": waivers})
    attempts = (Attempt.of(contents.artifact, contents.evaluation, decision),)
    return replace(contents, calibration=check, decision=decision, attempts=attempts)


def test_a_package_carries_the_check_and_shows_each_waiver_everywhere(tmp_path: Path) -> None:
    contents = checked_package(tmp_path / "in")
    assert contents.calibration is not None
    assert {"calibration.count", "calibration.overlap"} <= {one.rule for one in contents.calibration.findings}
    package = Path(write_package(contents, tmp_path / "out").path)
    report = verify(package, signatures_due=False)
    assert report.problems == ()
    assert any("calibration set has no defect but those the plan accepts" in sentence for sentence in report.checked)
    written = CalibrationCheck.model_validate_json((package / layout.CALIBRATION).read_bytes())
    assert written == contents.calibration
    for name in (layout.README, layout.CARD, layout.REPORT):
        assert "to see" in (package / name).read_text(), name
        assert "<every>" not in (package / name).read_text(), name
    html = (package / layout.REPORT).read_text()
    assert "<h2>Calibration set</h2>" in html
    assert "not compared: the plan names no sample of traffic" in html
    assert "calibration.count" in gate_markdown(contents.decision, contents.plan)
    assert "accepted by the plan with a reason" in calibration_markdown(contents.calibration, contents.plan)


def drop_a_finding(check: CalibrationCheck) -> CalibrationCheck:
    return check.model_copy(update={"findings": check.findings[1:]})


def another_reason(check: CalibrationCheck) -> CalibrationCheck:
    first = check.findings[0].model_copy(update={"waiver": "All is well with it."})
    return check.model_copy(update={"findings": (first, *check.findings[1:])})


def no_reason(check: CalibrationCheck) -> CalibrationCheck:
    first = check.findings[0].model_copy(update={"waiver": None})
    return check.model_copy(update={"findings": (first, *check.findings[1:])})


def a_better_figure(check: CalibrationCheck) -> CalibrationCheck:
    return check.model_copy(update={"figures": check.figures | {"overlap_heldout": 0.0}})


def another_set(check: CalibrationCheck) -> CalibrationCheck:
    return check.model_copy(update={"calibration": "1" * 64})


@pytest.mark.parametrize("forge", [drop_a_finding, another_reason, no_reason, a_better_figure, another_set])
def test_a_forged_check_is_found(tmp_path: Path, forge: Callable[[CalibrationCheck], CalibrationCheck]) -> None:
    contents = checked_package(tmp_path / "in")
    assert contents.calibration is not None
    check = forge(contents.calibration)
    package = write_package(with_check(contents, check, waivers_of(check)), tmp_path / "out")
    problems = verify(Path(package.path), signatures_due=False).problems
    assert [problem for problem in problems if layout.CALIBRATION in problem.where], problems


def test_a_decision_that_hides_a_waiver_is_found(tmp_path: Path) -> None:
    contents = checked_package(tmp_path / "in")
    assert contents.calibration is not None
    package = write_package(with_check(contents, contents.calibration, ()), tmp_path / "out")
    problems = verify(Path(package.path), signatures_due=False).problems
    assert any("other defects of the calibration set" in problem.what for problem in problems)


def test_the_report_of_a_clean_set_with_traffic() -> None:
    figures = {
        "samples": 256.0, "repeated_samples": 0.0, "near_copies": 0.0, "longest_tokens": 509.0, "giant_documents": 0.0,
        "read_tokens_p10": 33.0, "read_tokens_p50": 118.0, "read_tokens_p90": 256.0, "length_ratio_p90_p10": 7.75,
        "largest_kind_share": 0.28, "overlap_gate": 0.0, "overlap_dev": 0.0, "overlap_heldout": 0.0, "traffic_texts": 512.0,
        "divergence_bits": 0.0014, "divergence_limit_bits": 0.0047, "divergence_p_value": 0.98,
    }  # fmt: skip
    check = CalibrationCheck(calibration="0" * 64, samples=256, findings=(), figures=figures)
    html = render_report(replace(made_run(), calibration=check))
    for part in (
        "No defect was found.",
        "half have more than 118 tokens; eight in ten 33 to 256",
        "28 % of the samples",
    ):
        assert part in html
    assert "like it, no further away than 99 of 100 sets drawn from it" in html


def test_an_open_defect_is_said_plainly() -> None:
    finding = CalibrationFinding(rule="calibration.count", what="Too few.", value="3 samples", allowed="128 to 512")
    check = CalibrationCheck(
        calibration="0" * 64,
        samples=3,
        findings=(finding,),
        figures={"samples": 3.0, "repeated_samples": 0.0, "near_copies": 0.0},
    )
    run = made_run()
    assert "1 defect that the plan does not accept" in calibration_markdown(check, run.plan)
    assert "none: the run stops" in calibration_markdown(check, run.plan)


def test_the_check_can_not_be_left_out_of_a_package(tmp_path: Path) -> None:
    """A forger drops calibration.json, with a new manifest: found, unless the package says its run made no such check."""
    contents = made_package(tmp_path / "in")
    package = Path(write_package(contents, tmp_path / "out").path)
    report = verify(package)
    assert report.ok
    assert "says that its run did not check it" in " ".join(report.not_proven)
    run = json.loads((package / layout.RUN).read_bytes())
    run.pop(layout.CHECKS_CALIBRATION)
    (package / layout.RUN).write_bytes(layout.json_bytes(run))
    (package / layout.MANIFEST).write_bytes(manifest_of(package, run["run"]).to_bytes())
    assert [problem.where for problem in verify(package).problems] == [layout.CALIBRATION]


def test_where_nothing_is_checked_again_no_more_is_said(tmp_path: Path) -> None:
    contents = checked_package(tmp_path / "in")
    package = Path(write_package(contents, tmp_path / "out").path)
    run = json.loads((package / layout.RUN).read_bytes())
    (package / layout.RUN).write_bytes(layout.json_bytes(run | {"quantplay": "0.0.9"}))
    (package / layout.MANIFEST).write_bytes(manifest_of(package, run["run"]).to_bytes())
    report = verify(package)
    assert report.ok, report.problems
    assert not any(line.startswith("the calibration set has no defect") for line in report.checked)
    assert any(line.startswith("calibration.json records no defect") for line in report.checked)
    assert any("checking the set again takes" in line for line in report.not_proven)
