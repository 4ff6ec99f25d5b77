"""What an audit says: lines of the checklist, mistakes, and what each rests on. A `yes` has evidence, or it is no `yes`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["run", "package", "endpoint"]
Said = Literal["yes", "no", "waived", "unknown"]
Section = Literal["before", "calibration", "conversion", "before shipping", "after", "classic mistakes"]
SECTIONS: tuple[Section, ...] = (
    "before", "calibration", "conversion", "before shipping", "after", "classic mistakes",
)  # fmt: skip
MistakeName = Literal[
    "no_task_evaluation", "generic_calibration", "too_aggressive_too_soon", "no_kernel_support", "not_measured_on_target",
    "format_mismatch", "no_rollback_plan",
]  # fmt: skip
QUANTIZE_HERE = "quantize the base model here, by a plan without `imported`"
"""The fix of what nobody can tell of an artifact that was quantized elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an answer rests on."""

    record: str  # kind: baseline, decision, event ...
    key: str | None  # digest of a record, number of an event, revision of a policy
    said: str  # what it says, with the number


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One line of the checklist."""

    section: Section
    question: str
    answer: Said
    owner: str
    why: str  # a sentence; of `unknown` which record would tell
    evidence: tuple[Evidence, ...] = ()
    fix: str = ""  # the next command, or what to do
    reason: str | None = None  # why it is waived, as recorded
    mistake: MistakeName | None = None  # the one this line is about


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One of the seven, really there."""

    name: MistakeName
    why: str  # sentences with the numbers, one for each way it shows
    evidence: tuple[Evidence, ...]
    fix: str
    owner: str
    waived: bool = False
    reason: str | None = None  # why it was accepted, as recorded


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What an incident of this model, or of this plan, has taught."""

    text: str
    folded_into: str
    where: str
    incident: str  # id
    what: str  # happened
    at: str  # closed, ISO 8601


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The whole checklist of one run, package or endpoint."""

    kind: Kind
    subject: str
    name: str | None  # of the plan
    profile: str | None
    answers: tuple[Answer, ...]
    mistakes: tuple[Mistake, ...]
    lessons: tuple[Lesson, ...] = ()  # newest first

    @property
    def open(self) -> tuple[Mistake, ...]:
        """Mistakes nobody accepted with a reason."""
        return tuple(one for one in self.mistakes if not one.waived)

    def body(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


def line(
    section: Section,
    question: str,
    owner: str,
    holds: bool | None,
    *evidence: Evidence,
    why: str = "",
    fix: str = "",
    waived: str | None = None,
    ask: str = "",
) -> Answer:
    """The answer where `holds` is known; `unknown` without it, and where a yes would have nothing to show for itself.

    why: of a no. waived: the recorded reason why a no was accepted. ask: which record would tell.
    """
    if holds is None or (holds and not evidence):
        return Answer(
            section=section, question=question, answer="unknown", owner=owner, why=ask, evidence=evidence, fix=fix
        )
    if holds:
        return Answer(
            section=section, question=question, answer="yes", owner=owner, why=evidence[0].said, evidence=evidence
        )
    return Answer(
        section=section, question=question, answer="waived" if waived else "no", owner=owner, why=why, evidence=evidence, fix=fix,
        reason=waived,
    )  # fmt: skip
