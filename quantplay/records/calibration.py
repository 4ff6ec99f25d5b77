"""What a calibration set is like."""

from __future__ import annotations

from quantplay.records.base import Digest, Record


class CalibrationFinding(Record):
    """One defect of a calibration set."""

    rule: str  # calibration.duplicates ...: what a plan's deviation names to waive it
    what: str  # a sentence
    value: str
    allowed: str
    samples: tuple[str, ...] = ()  # ids concerned, the first ten
    waiver: str | None = None  # the plan's reason for accepting it


class CalibrationCheck(Record):
    """What a calibration set is like, and what is wrong with it."""

    calibration: Digest
    samples: int
    findings: tuple[CalibrationFinding, ...]
    figures: dict[str, float]  # name with unit -> value: samples, tokens_p50, near_duplicate_share ...

    @property
    def open(self) -> tuple[CalibrationFinding, ...]:
        """Findings that no waiver covers."""
        return tuple(finding for finding in self.findings if finding.waiver is None)
