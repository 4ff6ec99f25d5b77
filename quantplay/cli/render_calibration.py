"""The check of a calibration set in the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from quantplay.records import CalibrationCheck


def calibration_view(check: CalibrationCheck) -> Group:
    """One line, and one more for each finding with the reason that waives it."""
    state = Text("no defect", style="green")
    if check.findings:
        state = Text(
            f"{len(check.open)} open" if check.open else "defects accepted by the plan",
            style="red" if check.open else "yellow",
        )
    lines: list[RenderableType] = [Text.assemble(("Calibration set: ", "bold"), f"{check.samples:,} samples, ", state)]
    for finding in check.findings:
        reason = f" Accepted: “{finding.waiver}”." if finding.waiver else ""
        text = f"{finding.rule}: {finding.what} Found: {finding.value}; allowed: {finding.allowed}.{reason}"
        lines.append(Padding(Text(text), (0, 0, 0, 2)))
    return Group(*lines)
