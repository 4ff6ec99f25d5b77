"""Numbers and verdicts in words: one way to write each, for report, card, README and tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quantplay.formats import TYPES
from quantplay.handoff.contents import RunResults
from quantplay.plan import Plan
from quantplay.plays.funnel import left_words
from quantplay.records import Decision, SliceVerdict

MINUS = "\u2212"


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first thing a reader sees."""

    tone: str  # good | warn | bad | info
    glyph: str
    title: str
    next_step: str  # what happens now, one sentence


def number(value: float, digits: int = 1, *, signed: bool = False) -> str:
    """Fixed digits, a real minus sign, and never a negative zero."""
    rounded = round(value, digits) + 0.0
    text = f"{abs(rounded):,.{digits}f}"
    sign = MINUS if rounded < 0 else "+" if signed and rounded > 0 else ""
    return sign + text


def compact(value: float, digits: int = 3) -> str:
    """About `digits` significant figures: for losses, divergences and times of any size."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return number(value, places) if places <= 6 else f"{value:.1e}".replace("-", MINUS)


def percent(share: float, digits: int = 1) -> str:
    return f"{number(100 * share, digits)} %"


def smaller(size_bytes: float, than_bytes: float) -> str:
    share = 1 - size_bytes / than_bytes
    return f"{percent(abs(share), 0)} {'smaller' if share >= 0 else 'larger'}"


def size(size_bytes: float) -> str:
    """In KiB, MiB or GiB, powers of two."""
    mib = size_bytes / (1 << 20)
    if mib < 0.1:
        return f"{number(size_bytes / 1024, 1)} KiB"
    return f"{number(mib / 1024, 2)} GiB" if mib >= 1024 else f"{number(mib, 1 if mib >= 10 else 2)} MiB"


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{number(seconds, 1)} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def interval(low: float, high: float, digits: int = 1) -> str:
    return f"{number(low, digits)} to {number(high, digits)}"


def digits_of(verdict: SliceVerdict) -> int:
    """Points with one decimal, nats with three."""
    return 1 if verdict.unit == "points" else 3


def drop_text(verdict: SliceVerdict) -> str:
    """`0.8 points (-0.3 to 1.9)`."""
    digits = digits_of(verdict)
    bounds = interval(verdict.interval_low, verdict.interval_high, digits)
    return f"{number(verdict.drop, digits)} {verdict.unit} ({bounds})"


def slice_title(plan: Plan, verdict: SliceVerdict) -> str:
    """What a slice is called for people."""
    if verdict.slice == "hardest":
        share = number(100 * plan.gate.hardest.share, 0)
        what = "loss of the expected answer" if verdict.metric == "gold_loss" else "answers"
        return f"Hardest {share} %: {what}"
    return title_of(plan, verdict.slice)


def title_of(plan: Plan, name: str) -> str:
    info = plan.evaluation.slices.get(name)
    return info.title if info else name.replace("_", " ")


def type_words(kind: str) -> str:
    """`Q4_K_M` -> `4-bit (Q4_K_M)`."""
    known = TYPES.get(kind)
    return f"{known.nominal_bits}-bit ({kind})" if known else kind


def headline(results: RunResults) -> Headline:
    """The result in words for someone who answers for quality, not for bits."""
    decision = results.decision
    candidate = type_words(results.artifact.type) if results.artifact else "quantized"
    if decision is None:
        return _without_decision(results.outcome)
    if decision.verdict == "pass" and not decision.envelope_met:
        return Headline(
            tone="warn", glyph="!", title=f"The {candidate} model keeps its quality, but misses what it had to achieve.",
            next_step=_next(decision),
        )  # fmt: skip
    titles = {
        "pass": ("good", "✓", f"The {candidate} model passes: quality stays within what was agreed."),
        "close": ("warn", "!", f"The {candidate} model comes close, but loses more than was agreed."),
        "broken": ("bad", "✕", f"The {candidate} model is broken: it loses far more than was agreed."),
        "inconclusive": ("info", "?", f"Too little data to say whether the {candidate} model is good enough."),
    }
    tone, glyph, title = titles[decision.verdict]
    ended = {
        "locked": "It is locked and handed over.",
        "awaiting_signature": "It waits for signatures: of the ML engineer and the product owner under the decision, then of the product owner under the package.",
        "rejected": "It is not locked: somebody who had to sign said no.",
        "close": _short(results),
        "broken": _short(results),
        "explored": "An explore run is never locked: run the plan with another profile to hand it over.",
    }
    if decision.verdict != "pass":
        ended["awaiting_signature"] = (
            "It waits for the engineering manager, who decides by the business case whether training is worth it."
        )
        ended["rejected"] = "It is not trained: the engineering manager said no."
    next_step = ended.get(results.outcome or "") or _next(decision)
    return Headline(tone=tone, glyph=glyph, title=title, next_step=next_step)


def _short(results: RunResults) -> str:
    """What follows where nothing is left to try under this plan."""
    if not results.recommendations:
        return "Nothing is left to try under this plan."
    return f"Nothing is left to try under this plan. {results.recommendations[0].what}"


def left_sentence(results: RunResults) -> str:
    """Where the model left the playbook, of a run that ended; empty while it goes on."""
    if results.outcome is None or results.outcome == "awaiting_signature":
        return ""
    passed = results.decision is not None and results.decision.verdict == "pass"
    return f"It {'passed' if passed else 'left the playbook'} at {left_words(results.left_at)}."


def _without_decision(outcome: str | None) -> Headline:
    if outcome == "envelope_missed":
        return Headline(
            tone="bad", glyph="✕", title="Nothing that was considered fits where the model has to run.",
            next_step="Give it more room, or consider smaller types; the table below shows what was missing.",
        )  # fmt: skip
    if outcome == "declined":
        return Headline(
            tone="info", glyph="–", title="Quantizing this model is the wrong move here.",
            next_step="Keep serving full precision; the reasons are below.",
        )  # fmt: skip
    return Headline(
        tone="info", glyph="…", title="The run has not reached a decision.",
        next_step="What was measured so far is below.",
    )  # fmt: skip


def _next(decision: Decision) -> str:
    steps = {
        "lock": "Next: lock it and hand it over.",
        "mixed precision": "Next: keep the most sensitive parts at higher precision (mixed precision) and test again.",
        "quantization-aware training": (
            "Next: train the model with the precision loss in view (quantization-aware training), "
            "if the volume justifies it, or use more bits."
        ),
        "next candidate": "Next: try the next candidate of the envelope.",
        "more items": "Next: add evaluation items and test again; the table says how many are missing.",
    }
    return steps.get(decision.next_play, f"Next: {decision.next_play}.")


def worst(decision: Decision) -> SliceVerdict | None:
    """The scored slice that lost the most points."""
    scored = [one for one in decision.slices if one.metric == "score"]
    return max(scored, key=lambda one: one.drop, default=None)
