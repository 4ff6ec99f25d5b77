"""How a run can end: one table for command line, Prefect and database. No logic, no imports of ours.

Every stop is a result with a report. To add an outcome: one line in `OUTCOMES`, and one in docs/outcomes.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One way a run ends."""

    title: str  # for people
    when: str
    exit_code: int  # of the command line
    state: str  # Prefect's state type
    state_name: str  # Prefect's state name, also the run's status in the database
    good: bool = False  # ends with a package that may be used


OUTCOMES: dict[str, Outcome] = {
    "locked": Outcome(
        title="locked",
        when="the gate passed, and the signatures are there where the profile asks for them",
        exit_code=0, state="COMPLETED", state_name="Locked", good=True,
    ),
    "awaiting_signature": Outcome(
        title="awaiting signature",
        when="a signature is missing; `quantplay run` again or the signature itself resumes",
        exit_code=10, state="COMPLETED", state_name="AwaitingSignature",
    ),
    "close": Outcome(
        title="close",
        when="short of the tolerance, and nothing further is built, allowed or left to try",
        exit_code=11, state="COMPLETED", state_name="Close",
    ),
    "broken": Outcome(
        title="broken",
        when="a slice lost more than its broken_drop, and nothing further is built, allowed or left to try",
        exit_code=12, state="COMPLETED", state_name="Broken",
    ),
    "envelope_missed": Outcome(
        title="envelope missed",
        when="no candidate of play 2 is left that fits the plan's envelope",
        exit_code=13, state="COMPLETED", state_name="EnvelopeMissed",
    ),
    "inconclusive": Outcome(
        title="inconclusive",
        when="too little data to tell; the verdict says what would settle it",
        exit_code=14, state="COMPLETED", state_name="Inconclusive",
    ),
    "declined": Outcome(
        title="declined",
        when="quantization is the wrong move here; the result says why",
        exit_code=15, state="COMPLETED", state_name="Declined",
    ),
    "rejected": Outcome(
        title="rejected",
        when="a signer said no",
        exit_code=16, state="COMPLETED", state_name="Rejected",
    ),
    "explored": Outcome(
        title="explored",
        when="the gate passed in the profile explore, which never ends in a package",
        exit_code=17, state="COMPLETED", state_name="Explored",
    ),
    "bad_input": Outcome(
        title="bad plan or input",
        when="the plan, or a file it points to, can't be used; every fault is listed",
        exit_code=2, state="FAILED", state_name="Failed",
    ),
    "missing_dependency": Outcome(
        title="missing dependency or service",
        when="something is not installed or does not answer; the message holds the command that helps",
        exit_code=3, state="FAILED", state_name="Failed",
    ),
    "cancelled": Outcome(
        title="cancelled",
        when="somebody stopped it, with Ctrl-C or in Prefect; what was finished stays, and running it again goes on from there",
        exit_code=130, state="CANCELLED", state_name="Cancelled",
    ),
    "internal_fault": Outcome(
        title="internal fault",
        when="our own mistake or a crash; the message says what to send us",
        exit_code=1, state="FAILED", state_name="Failed",
    ),
}  # fmt: skip


def outcome_of_exit_code(exit_code: int) -> str | None:
    """Name of the outcome with this exit code; None where there is none."""
    return next((name for name, outcome in OUTCOMES.items() if outcome.exit_code == exit_code), None)


@dataclass(frozen=True, kw_only=True)
class StandingOutcome:
    """How a re-validation ends."""

    when: str
    exit_code: int  # of `quantplay revalidate`: that of the worst package
    state_name: str  # of the completed Prefect state


STANDINGS: dict[str, StandingOutcome] = {
    "confirmed": StandingOutcome(
        when="measured again with the very bytes and the same harness, within the gate's bounds",
        exit_code=0, state_name="Confirmed",
    ),
    "stale": StandingOutcome(
        when="not measured since the stack changed, or not conclusively; the result says what is missing",
        exit_code=20, state_name="Stale",
    ),
    "regressed": StandingOutcome(
        when="a bound of the gate or the envelope is broken, the bytes are not the locked ones, or other questions are asked; "
        "an incident is open",
        exit_code=21, state_name="Regressed",
    ),
}  # fmt: skip
"""How a locked package stands after it was measured again."""

FALLS_SHORT = 22
"""Exit code of `quantplay standards falls-short` where a locked model does."""
AUDIT_FOUND = 23
"""Exit code of `quantplay audit` where one of the seven mistakes is there and nobody accepted it with a reason."""
