"""Verdicts in sentences a product owner understands: numbers, units, what the plan allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from quantplay.gate.target import target_sentence
from quantplay.records import Decision, EnvelopeCheck, GateChange, SliceVerdict, StandardsCheck

LOOKS = "looks at these items"  # GateChange.field of the count of looks
SUPERFLUOUS_SHARE = 100.0  # more than this many times the items at hand is no advice


def title_of(name: str, titles: Mapping[str, str]) -> str:
    """A slice's title in the plan, or its name in words."""
    words = titles.get(name) or ("the hardest items" if name == "hardest" else name.replace("_", " "))
    return words[:1].upper() + words[1:]


def slice_reason(verdict: SliceVerdict, titles: Mapping[str, str], level: float) -> str:
    """The sentence of one gated quantity."""
    say = Numbers(verdict)
    title = title_of(verdict.slice, titles)
    if verdict.metric == "gold_loss":
        title = f"The loss of the expected answer on {title[:1].lower()}{title[1:]}"
    fact = f"{title} {say.change} ({say.interval})"
    if verdict.verdict == "broken":
        return (
            f"{fact}; even allowing for chance it is more than {say.amount(verdict.lower_holm)}, and from "
            f"{say.amount(verdict.broken_drop)} on the plan calls it broken.{conversion(verdict)}"
        )
    if verdict.verdict == "close":
        return f"{fact}; the plan allows {say.amount(verdict.max_drop)}.{conversion(verdict)}"
    if verdict.verdict == "pass":
        return (
            f"{fact}; at most {say.amount(verdict.upper)} with {100 * (1 - level):.4g} % confidence, "
            f"and the plan allows {say.amount(verdict.max_drop)}."
        )
    if verdict.items_missing is None:
        more = "so near the tolerance no reasonable number of items would tell"
    else:
        more = f"about {verdict.items_missing:,} more items would be needed"
    if verdict.drop > verdict.max_drop:
        return (
            f"{fact}; the plan allows {say.amount(verdict.max_drop)}, but so few items can't tell this from no loss at all, "
            f"and {more}."
        )
    return (
        f"{fact}; up to {say.amount(verdict.upper)} can't be ruled out, the plan allows "
        f"{say.amount(verdict.max_drop)}, and {more}."
    )


def conversion(verdict: SliceVerdict) -> str:
    """Where a good part of a drop was there before anything was quantized, that is said."""
    share = verdict.conversion_drop
    if share is None or share < 0.5 or share < verdict.drop / 4:
        return ""
    return f" {share:.1f} points of it come from converting the model to the serving runtime, not from quantization."


def envelope_reason(check: EnvelopeCheck) -> str:
    """The sentence of a promise that was not kept."""
    if check.name.split(" ")[1:2] == ["won:"]:
        return f"The win the plan was after did not come: {check.name}, is {check.measured:.2f} {check.unit}."
    return f"{check.name[:1].upper()}{check.name[1:]} is {check.measured:.4g} {check.unit}; the plan allows {check.limit:.4g}."


def remarks(decision: Decision) -> tuple[str, ...]:
    """What a reader has to know beside the verdict: a laxer gate than before, another chip, defects that were accepted."""
    target = decision.target
    other_chip = target is not None and target.target is not None and not target.same
    return (
        *(change_remark(change) for change in decision.gate_changes),
        *((target_sentence(target),) if target is not None and other_chip else ()),
        *(f"Accepted by the plan ({one.rule}): {one.what} Reason given: “{one.reason}”." for one in decision.waivers),
        *departure_remarks(decision.standards),
    )


def departure_remarks(check: StandardsCheck | None) -> Iterator[str]:
    """Where the plan departs from the organisation's standards, and why."""
    if check is None:
        return
    for one in check.departures:
        reason = f"because “{one.reason}”" if one.reason is not None else "and gives no reason"
        yield (
            f"Deviates from the standards (version {check.version}, {one.rule}): {one.what}; they say {one.standard}, here it is "
            f"{one.found}, {reason}."
        )


def change_remark(change: GateChange) -> str:
    """The sentence of a promise that an earlier plan kept tighter."""
    day = change.looked_at[:10]
    if change.field == LOOKS:
        return f"These items were looked at before with this model, first on {day}: {change.before}; {change.now}."
    return (
        f"Laxer than the plan which looked at the same items on {day}: {promise(change.field)} was {change.before}, "
        f"is now {change.now} ({change.field})."
    )


def promise(field: str) -> str:
    """What a field of gate or envelope promises, in words."""
    part, _, rest = field.partition(".")
    name, _, limit = rest.rpartition(".")
    words = {
        "max_drop": "the drop allowed",
        "broken_drop": "the drop that counts as broken",
        "max_loss_rise": "the rise of the expected answer's loss allowed",
        "broken_loss_rise": "the rise of the expected answer's loss that counts as broken",
        "share": "the share of items that count as hardest",
    }
    if part == "envelope":
        return f"the limit of {limit.removeprefix('max_').replace('_', ' ')}"
    where = name.replace("_", " ") if part == "slices" else "the hardest items"
    return words[limit] if limit == "share" else f"{words[limit]} on {where}"


class Numbers:
    """Formats one quantity's numbers with as many digits as it takes to tell them from its limits."""

    def __init__(self, verdict: SliceVerdict) -> None:
        self.verdict = verdict
        self.digits = 1 if verdict.unit == "points" else 3
        while self.digits < 6 and self._looks_equal():
            self.digits += 1

    def _looks_equal(self) -> bool:
        v = self.verdict
        close = [(v.upper, v.max_drop), (v.lower_holm, v.broken_drop), (v.drop, v.max_drop)]
        return any(a != b and self.bare(a) == self.bare(b) for a, b in close)

    def bare(self, value: float) -> str:
        text = f"{value:.{self.digits}f}"
        return text.lstrip("-") if float(text) == 0 else text

    def amount(self, value: float) -> str:
        return f"{self.bare(value)} {self.verdict.unit}"

    @property
    def change(self) -> str:
        drop = self.verdict.drop
        if drop == 0:
            return "did not change"
        worse, better = ("rose by", "fell by") if self.verdict.metric == "gold_loss" else ("lost", "gained")
        return f"{better if drop < 0 else worse} {self.amount(abs(drop))}"

    @property
    def interval(self) -> str:
        low, high = self.verdict.interval_low, self.verdict.interval_high
        if self.verdict.drop < 0:  # read as a gain, the interval turns round
            low, high = -high, -low
        return f"90 % interval {self.bare(low)} to {self.bare(high)}"
