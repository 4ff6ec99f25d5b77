"""From a disappointing model back to what was skipped, waived or weak. Pure.

Weights are judgement, never measurement: how readily a line that does not hold hides a loss that users then find, from 1 (seldom) to
10 (nearly always). An answer of `no` counts whole; `waived` less, because somebody looked; `unknown` half, because it may be fine.
"""

from __future__ import annotations

from dataclasses import dataclass

from quantplay.audit.answers import Answer, Audit, Evidence, Said

SHARES: dict[Said, float] = {"no": 1.0, "waived": 0.8, "unknown": 0.5, "yes": 0.0}
PROFILE = 0.2
"""Of a line that the profile waives for everybody: nobody looked, and nobody had to."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """What a line that does not hold would explain."""

    weight: int
    explains: str  # how the model would disappoint


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One likely cause; the first is to be looked at first."""

    score: float
    answer: Answer
    explains: str

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return self.answer.evidence

    @property
    def first(self) -> str:
        """What to do."""
        return self.answer.fix


MISTAKES: dict[str, Suspect] = {
    "no_task_evaluation": Suspect(weight=10, explains="it never was as good as it was said to be, and nothing could have shown it"),
    "too_aggressive_too_soon": Suspect(weight=9, explains="answers are worse across the board, reasoning and format first"),
    "generic_calibration": Suspect(weight=8, explains="answers are worse on what your users ask, and fine on public texts"),
    "format_mismatch": Suspect(weight=7, explains="other weights answer than those that were measured, or slower ones"),
    "no_kernel_support": Suspect(weight=6, explains="it is slower than promised, and no cheaper"),
    "not_measured_on_target": Suspect(weight=6, explains="it is slower or larger where it serves than where it was measured"),
    "no_rollback_plan": Suspect(weight=3, explains="a loss lasts, because nothing takes it back"),
}  # fmt: skip
LINES: dict[str, Suspect] = {
    "Did the frozen gate pass?": Suspect(weight=9, explains="the loss was measured, and it was shipped all the same"),
    "Was the gate frozen before any result?": Suspect(weight=8, explains="the tolerance was widened until the loss fitted in"),
    "Is traffic still what it was calibrated for?": Suspect(weight=8, explains="it was good at what it was asked then"),
    "Does it hold since it was measured again?": Suspect(weight=8, explains="runtime, driver or kernel changed under it"),
    "Did the identical harness ask both?": Suspect(weight=8, explains="the difference that was measured is not the model's"),
    "Is the evaluated file the one that was made?": Suspect(weight=8, explains="another file answers"),
    "Is the decision about this very evaluation and baseline?": Suspect(weight=8, explains="other numbers were approved"),
    "Is there a verdict on the hardest items?": Suspect(weight=6, explains="the loss is in the hard tenth, where means don't show it"),
    "Is every promise of the envelope met, its win included?": Suspect(weight=6, explains="what was to be won was not won"),
    "Is nothing in it that is asked later?": Suspect(weight=6, explains="the test was seen before, so it flattered"),
    "Is it like what the model is asked?": Suspect(weight=6, explains="the quantizer protected what nobody asks"),
    "Is no alarm raised?": Suspect(weight=5, explains="the distributions moved where the tasks don't look"),
    "Is it known how much the baseline differs from itself?": Suspect(weight=4, explains="noise was taken for a result"),
    "Are both artifacts deployed, full precision as well?": Suspect(weight=4, explains="nobody compares it with full precision"),
    "Has the judge spoken?": Suspect(weight=4, explains="nobody compares it with full precision"),
    "Do samples differ in topic?": Suspect(weight=4, explains="the quantizer saw one kind of question"),
    "Are there 128 to 512 samples?": Suspect(weight=3, explains="the quantizer saw too little"),
    "Do samples differ in length?": Suspect(weight=3, explains="long prompts suffer"),
    "Is every document read in good part?": Suspect(weight=2, explains="the quantizer saw heads of documents only"),
    "Is every sample there once?": Suspect(weight=2, explains="the quantizer saw less than was counted"),
    "Do samples differ in more than a few words?": Suspect(weight=2, explains="the quantizer saw less than was counted"),
    "Is quantizing the right move here?": Suspect(weight=3, explains="there was little to win"),
    "Is every incident closed, with what was learned?": Suspect(weight=5, explains="it happened before, and is not mended"),
}  # fmt: skip
"""Question -> what it explains. Lines that are not here, such as who signed, explain no loss."""


def causes(audit: Audit) -> tuple[Cause, ...]:
    """Likely causes, the likeliest first; empty where every line that could explain a loss holds."""
    found = [
        Cause(score=round(suspect.weight * share_of(answer), 2), answer=answer, explains=suspect.explains)
        for answer in audit.answers
        if (suspect := suspect_of(answer)) is not None and answer.answer != "yes"
    ]
    return tuple(sorted(found, key=lambda one: -one.score))


def suspect_of(answer: Answer) -> Suspect | None:
    return MISTAKES.get(answer.mistake) if answer.mistake is not None else LINES.get(answer.question)


def share_of(answer: Answer) -> float:
    if answer.answer == "waived" and (answer.reason or "").startswith("profile "):
        return PROFILE
    return SHARES[answer.answer]
