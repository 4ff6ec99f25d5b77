"""Before play 1: is the calibration set fit to steer the quantizer?"""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.handoff.markdown import calibration_markdown
from quantplay.plays import keys
from quantplay.plays.calibration import check_pinned, require_fit
from quantplay.records import CalibrationCheck, Digest
from tasks.options import PLAY
from tasks.workbench import RunRef, once, workbench


@task(name="calibration", **PLAY)
def calibration(run: RunRef) -> Digest:
    """Check the calibration set (or look the check up); returns its key. A defect the plan does not waive ends the run here."""
    store, plan = workbench().store, run.read()
    key = keys.calibration_key(plan, run.inputs)

    def make() -> CalibrationCheck:
        return check_pinned(plan, run.pinned())

    check = once(run, "calibration", key, find=store.get_calibration_check, make=make)
    create_markdown_artifact(
        calibration_markdown(check, plan),
        key="calibration",
        description="The calibration set, before anything is measured",
    )
    require_fit(check)
    return key
