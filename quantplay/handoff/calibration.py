"""What a calibration set is like, in words a product owner understands."""

from __future__ import annotations

from dataclasses import dataclass

from quantplay.calibration.domain import FALSE_ALARMS
from quantplay.handoff import words
from quantplay.plan import Plan
from quantplay.records import CalibrationCheck, CalibrationFinding

OVERLAPS = {"overlap_gate": "the gate split", "overlap_dev": "the dev split", "overlap_heldout": "the held-out texts"}


@dataclass(frozen=True, kw_only=True)
class CalibrationWords:
    """The check of a calibration set, ready for a page."""

    verdict: str  # one sentence
    facts: tuple[tuple[str, str], ...]  # what was looked at -> what was found
    findings: tuple[CalibrationFinding, ...]


def calibration_words(check: CalibrationCheck, plan: Plan) -> CalibrationWords:
    """Figures and findings of `check`."""
    return CalibrationWords(verdict=verdict_of(check), facts=tuple(facts_of(check, plan)), findings=check.findings)


def verdict_of(check: CalibrationCheck) -> str:
    accepted = len(check.findings) - len(check.open)
    if check.open:
        return f"{words_for(len(check.open), 'defect')} that the plan does not accept: no run with this set goes on."
    if accepted:
        return f"{words_for(accepted, 'defect')}, accepted by the plan with a reason."
    return "No defect was found."


def words_for(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def facts_of(check: CalibrationCheck, plan: Plan) -> list[tuple[str, str]]:
    figures = check.figures
    unit = "words" if "read_words_p50" in figures else "tokens"
    found = [("Samples used", f"{check.samples:,}, each read up to {plan.calibration.tokens:,} {unit}")]
    if f"read_{unit}_p50" in figures:
        low, middle, high = (figures[f"read_{unit}_{name}"] for name in ("p10", "p50", "p90"))
        found.append(
            ("Length read", f"half have more than {middle:,.0f} {unit}; eight in ten {low:,.0f} to {high:,.0f}")
        )
        found.append(("Giant documents, of which only the head is read", f"{figures['giant_documents']:,.0f}"))
        found.append(
            (
                "Largest group of one kind",
                f"{words.percent(figures['largest_kind_share'], 0)} of the samples, built from the same phrases",
            )
        )
    found.append(
        (
            "Said twice",
            f"{figures['repeated_samples']:,.0f} exactly, {figures['near_copies']:,.0f} with a few words changed",
        )
    )
    asked = [f"{figures[name]:,.0f} in {of}" for name, of in OVERLAPS.items() if name in figures]
    found.append(("Also in the evaluation", ", ".join(asked)))
    found.append(("Against the traffic", traffic_words(figures)))
    return found


def traffic_words(figures: dict[str, float]) -> str:
    if "divergence_bits" not in figures:
        return "not compared: the plan names no sample of traffic"
    value, limit = figures["divergence_bits"], figures["divergence_limit_bits"]
    alike = (
        "like it, no further away than 99 of 100 sets drawn from it"
        if figures["divergence_p_value"] > FALSE_ALARMS
        else "unlike it"
    )
    return (
        f"{alike}: Jensen-Shannon divergence {words.compact(value)} bits, limit {words.compact(limit)}; "
        f"{figures['traffic_texts']:,.0f} texts of traffic"
    )
