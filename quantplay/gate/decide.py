"""Play 4's verdict: the frozen gate applied to what was measured. Pure: the same records give the same decision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.gate.alarms import raise_alarms
from quantplay.gate.envelope import check_envelope
from quantplay.gate.pairing import Pair, pair_items, some
from quantplay.gate.rule import PRECEDENCE, Judged, Quantity, items_needed, judge, overall
from quantplay.gate.sentences import SUPERFLUOUS_SHARE, envelope_reason, slice_reason
from quantplay.gate.target import check_target, chip_of
from quantplay.plan import Envelope, Gate
from quantplay.records import (
    Artifact,
    Baseline,
    Decision,
    Evaluation,
    GateChange,
    SliceVerdict,
    StandardsCheck,
    Verdict,
    Waiver,
)
from quantplay.stats import ALPHA, HARDEST, Drop, loss_rise, mcnemar_exact, score_drop

INTERVAL_TAIL = 0.05  # a side of the two-sided 90 % interval
NEXT_PLAY: dict[Verdict, str] = {
    "pass": "lock",
    "close": "mixed precision",
    "broken": "quantization-aware training",
    "inconclusive": "more items",
}
NEXT_CANDIDATE = "next candidate"


def decide(
    gate: Gate,
    baseline: Baseline,
    evaluation: Evaluation,
    *,
    envelope: Envelope,
    artifact: Artifact,
    attempt: int = 1,
    titles: Mapping[str, str] | None = None,
    changes: tuple[GateChange, ...] = (),
    waivers: tuple[Waiver, ...] = (),
    standards: StandardsCheck | None = None,
) -> Decision:
    """Judge `evaluation` against `baseline` under `gate`; `titles` names slices in words (slice -> title).

    changes: where this gate is laxer than one that looked before (erosion.py); waivers: defects the plan accepts; standards:
    what the plan was compared with when the run began. All are shown with the decision and don't change it.

    Quality is the source arm of the baseline minus the candidate, item by item; speed and memory are against full
    precision in the serving runtime. Raises IntegrityError when the records don't belong together and InputError when
    the gate can't be applied: no items, no attempt left, or a tolerance below the noise floor.
    """
    check_attempt(gate, attempt)
    pairs = pair_items(gate, baseline, evaluation, artifact)
    check_noise_floor(gate, baseline)
    slices = judge_slices(gate, pairs, baseline.hardest, evaluation, titles or {})
    verdict = overall(item.verdict for item in slices)
    checks = check_envelope(envelope, evaluation, artifact)
    met = all(check.met for check in checks)
    target = check_target(envelope, chip_of(envelope, evaluation.fingerprint.hardware))
    return Decision(
        verdict=verdict,
        envelope_met=met,
        reasons=(*quality_reasons(slices), *(envelope_reason(check) for check in checks if not check.met)),
        next_play=NEXT_CANDIDATE if verdict == "pass" and not met else NEXT_PLAY[verdict],
        slices=slices,
        envelope=checks,
        alarms=raise_alarms(gate, baseline, evaluation, pairs.values()),
        gate=gate.digest(),
        baseline=evaluation.baseline,
        evaluation=evaluation.digest(),
        attempt=attempt,
        attempts=gate.attempts,
        alpha=ALPHA / gate.attempts,
        gate_changes=changes,
        target=target,
        waivers=waivers,
        standards=standards,
    )


def judge_slices(
    gate: Gate, pairs: Mapping[str, Pair], hardest_ids: Sequence[str], evaluation: Evaluation, titles: Mapping[str, str]
) -> tuple[SliceVerdict, ...]:
    """Every gated quantity: source minus candidate a slice and on the hardest items, and the hardest items' rise of loss."""
    level = ALPHA / gate.attempts
    seed = int(gate.digest()[:15], 16)
    drafts = [
        score_draft(name, [pair for pair in pairs.values() if pair.source.slice == name], limits, seed)
        for name, limits in ((name, (t.max_drop, t.broken_drop)) for name, t in gate.slices.items())
    ]
    hardest = [pairs[key] for key in sorted(hardest_ids)]
    drafts.append(score_draft(HARDEST, hardest, (gate.hardest.max_drop, gate.hardest.broken_drop), seed))
    drafts.append(loss_draft(gate, evaluation, hardest, seed))

    # Judged by name: a tie in Holm's order must not depend on the order in which a plan lists its slices.
    by_name = sorted(drafts, key=lambda draft: (draft.name, draft.metric))
    judged = dict(zip(by_name, judge([draft.quantity for draft in by_name], level), strict=True))
    return tuple(draft.verdict(judged[draft], level, len(drafts), titles) for draft in drafts)


def check_attempt(gate: Gate, attempt: int) -> None:
    if not 1 <= attempt <= gate.attempts:
        raise InputError(
            "the gate split was looked at as often as the plan allows",
            value=f"attempt {attempt}",
            allowed=f"1 to {gate.attempts}",
            fix="write a new plan with a fresh gate split",
        )


def check_noise_floor(gate: Gate, baseline: Baseline) -> None:
    """A tolerance that the baseline misses against itself can't be kept by anything."""
    limits = {name: tolerance.max_drop for name, tolerance in gate.slices.items()} | {HARDEST: gate.hardest.max_drop}
    faults = [
        Fault(
            where=f"gate.slices.{name}.max_drop" if name != HARDEST else "gate.hardest.max_drop",
            what=f"is tighter than the noise floor: full precision differs from itself by {floor:.2f} points"
            f" ({baseline.noise_floor.changed})",
            value=f"{limits[name]:g} points",
            allowed=f"at least {floor:.2f} points",
            fix="write a new plan with a tolerance above the floor, or more items",
        )
        for name, floor in baseline.noise_floor.max_drop_points.items()
        if name in limits and limits[name] < floor
    ]
    if faults:
        raise InputError("the gate asks for more than this measurement can tell", faults=faults)


def quality_reasons(slices: Sequence[SliceVerdict]) -> list[str]:
    """The sentences that decide, worst first; of a pass one sentence and the one nearest to its tolerance."""

    def used_up(item: SliceVerdict) -> tuple[float, str, str]:
        return -(item.upper / item.max_drop), item.slice, item.metric

    failing = [item for item in slices if item.verdict != "pass"]
    if failing:
        failing.sort(key=lambda item: (PRECEDENCE.index(item.verdict), used_up(item)))
        return [item.reason for item in failing]
    nearest = min(slices, key=used_up)
    return [
        f"All {len(slices)} gated quantities stay within the plan's tolerances.",
        f"Nearest to its limit: {nearest.reason}",
    ]


class Draft:
    """One gated quantity on its way into the record; `points` turns shares into points."""

    def __init__(
        self,
        name: str,
        metric: str,
        drop: Drop,
        limits: tuple[float, float],
        means: tuple[float, float],
        *,
        flips: tuple[int, int] = (0, 0),
        graded: bool = False,
        conversion_drop: float | None = None,
    ) -> None:
        self.name, self.metric, self.means, self.flips = name, metric, means, flips
        self.graded, self.conversion_drop = graded, conversion_drop
        self.factor = 100.0 if metric == "score" else 1.0
        self.limits = limits
        self.quantity = Quantity(drop=drop, max_drop=limits[0] / self.factor, broken_drop=limits[1] / self.factor)

    def verdict(self, judged: Judged, level: float, quantities: int, titles: Mapping[str, str]) -> SliceVerdict:
        drop, factor = self.quantity.drop, self.factor
        missing = items_missing(self.quantity, level, quantities) if judged.verdict == "inconclusive" else None
        record = SliceVerdict.model_validate(
            {
                "slice": self.name,
                "metric": self.metric,
                "unit": "points" if self.metric == "score" else "nats",
                "verdict": judged.verdict,
                "reason": "",
                "items": drop.items,
                "clusters": drop.clusters,
                "baseline": self.means[0],
                "candidate": self.means[1],
                "drop": drop.estimate * factor,
                "interval_low": drop.lower(INTERVAL_TAIL) * factor,
                "interval_high": drop.upper(INTERVAL_TAIL) * factor,
                "upper": judged.upper * factor,
                "lower_holm": judged.lower_holm * factor,
                "lower_loss": judged.lower_loss * factor,
                "max_drop": self.limits[0],
                "broken_drop": self.limits[1],
                "lost": self.flips[0],
                "won": self.flips[1],
                "mcnemar_p": None if self.graded or self.metric != "score" else mcnemar_exact(*self.flips),
                "conversion_drop": self.conversion_drop,
                "items_missing": missing,
            }
        )
        return record.model_copy(update={"reason": slice_reason(record, titles, level)})


def score_draft(name: str, pairs: Sequence[Pair], limits: tuple[float, float], seed: int) -> Draft:
    differences = [pair.source.score - pair.candidate.score for pair in pairs]
    graded = any(pair.graded for pair in pairs)
    source, reference, candidate = (
        100 * math.fsum(item.score for item in arm) / len(pairs)
        for arm in zip(*((pair.source, pair.reference, pair.candidate) for pair in pairs), strict=True)
    )
    return Draft(
        name,
        "score",
        score_drop(differences, [pair.source.cluster for pair in pairs], graded=graded, seed=seed),
        limits,
        (source, candidate),
        flips=(sum(d > 0 for d in differences), sum(d < 0 for d in differences)),
        graded=graded,
        conversion_drop=source - reference,
    )


def loss_draft(gate: Gate, evaluation: Evaluation, hardest: Sequence[Pair], seed: int) -> Draft:
    """The rise of the expected answer's loss on the hardest items, candidate against full precision in the runtime."""
    ids = [pair.source.id for pair in hardest]
    before, now = evaluation.hardest_loss_reference, evaluation.hardest_loss_candidate
    faults = [
        Fault(where=where, what="lacks the gold answer's loss of hardest items", value=some(missing))
        for where, losses in (("evaluation.hardest_loss_reference", before), ("evaluation.hardest_loss_candidate", now))
        if (missing := [key for key in ids if key not in losses])
    ]
    if faults:
        raise IntegrityError("the loss on the hardest items is incomplete", faults=faults)
    clusters = [pair.source.cluster for pair in hardest]
    if len(set(clusters)) < 2:
        raise InputError(
            "the hardest items come from a single document, which bounds nothing",
            value=f"{len(ids)} items",
            allowed="at least 2 documents",
            fix="more items in the gate split, or a larger gate.hardest.share",
        )
    means = math.fsum(before[key] for key in ids) / len(ids), math.fsum(now[key] for key in ids) / len(ids)
    rise = loss_rise([now[key] - before[key] for key in ids], clusters, seed=seed)
    return Draft(HARDEST, "gold_loss", rise, (gate.hardest.max_loss_rise, gate.hardest.broken_loss_rise), means)


def items_missing(quantity: Quantity, level: float, quantities: int) -> int | None:
    """How many more items would settle it, were the candidate as it looks now; None beyond any reasonable number."""
    have = quantity.drop.items
    needed = items_needed(quantity, level, quantities)
    return max(1, math.ceil(needed) - have) if needed <= SUPERFLUOUS_SHARE * have else None
