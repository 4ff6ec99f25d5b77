"""Is a locked package still what was locked? Today's results against the locked ones, by the gate's own bounds. Pure.

Every rule may find that the package is not confirmed, and says why; the worst finding is the status. Regressed before stale before
confirmed. What each rule looks at: docs/revalidation.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from quantplay.gate.against_locked import against_locked, changed, paired, same_losses
from quantplay.gate.decide import decide
from quantplay.gate.envelope import check_envelope
from quantplay.gate.moved import moved
from quantplay.gate.pairing import Pair, some
from quantplay.gate.sentences import envelope_reason
from quantplay.gate.target import check_target, chip_of, target_sentence
from quantplay.plan import Plan
from quantplay.records import (
    Alarm,
    Artifact,
    Baseline,
    Decision,
    Digest,
    EnvelopeCheck,
    Evaluation,
    Fingerprint,
    Revalidation,
    SliceVerdict,
    StackChange,
    StandingStatus,
    Trigger,
    Verdict,
)

WORST_FIRST: tuple[StandingStatus, ...] = ("regressed", "stale", "confirmed")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One reason why a package is not confirmed."""

    status: StandingStatus  # stale | regressed
    text: str


@dataclass(frozen=True, kw_only=True)
class Locked:
    """What was locked."""

    package: Digest
    plan: Plan
    baseline: Baseline
    artifact: Artifact
    evaluation_key: Digest
    evaluation: Evaluation
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class Today:
    """The machine as it is now, and what was measured on it."""

    stack: Fingerprint
    harness: Digest
    changes: tuple[StackChange, ...]  # of the stack since the locked evaluation
    evaluation: Evaluation | None  # None where nothing could be measured; `hindrances` say why
    measured: Digest | None  # its key
    hindrances: tuple[Finding, ...] = ()


def judge_again(locked: Locked, today: Today, *, trigger: Trigger, at: str) -> Revalidation:
    """How the package stands. `at`: ISO 8601, UTC."""
    then, now, plan = locked.evaluation, today.evaluation, locked.plan
    titles = {name: info.title for name, info in plan.evaluation.slices.items()}
    findings, slices, checks, verdict = list(today.hindrances), (), (), None
    pairs: dict[str, Pair] = {}
    alarms = ()
    if now is not None:
        other = list(asked_differently(then, now))
        findings += [*other, *served_differently(then, now)]
        pairs = paired(then, now)
        same = not any(changed(pair) for pair in pairs.values()) and same_losses(then, now)
        findings += harness_findings(locked, today, same)
        if pairs:
            slices = against_locked(plan.gate, locked.baseline.hardest, then, now, pairs, titles)
            findings += [*scored_differently(pairs.values()), *slice_findings(slices)]
        if not other and then.harness == now.harness:
            verdict, found = against_baseline(locked, now, same, titles)
            findings += found
        checks = check_envelope(plan.envelope, now, locked.artifact)
        findings += envelope_findings(locked, today, checks)
        alarms = tuple(moved(then, now, locked.baseline.noise_floor, list(pairs.values())))
        findings += unexplained(today, then, alarms)
    status = worst(findings)
    answers = tuple(pairs.values())
    return Revalidation(
        package=locked.package,
        artifact=locked.artifact.sha256,
        evaluation=locked.evaluation_key,
        trigger=trigger,
        at=at,
        status=status,
        reasons=(*ordered(findings), *good_news(status, answers, slices), *named(today)),
        stack_then=then.fingerprint.digest(),
        stack_now=today.stack.digest(),
        stack=today.stack,
        changes=today.changes,
        harness_then=then.harness,
        harness_now=today.harness,
        measured=today.measured,
        items=len(answers),
        lost=sum(pair.source.score > pair.candidate.score for pair in answers),
        won=sum(pair.source.score < pair.candidate.score for pair in answers),
        responses_changed=sum(pair.source.response != pair.candidate.response for pair in answers),
        slices=slices,
        against_baseline=verdict,
        envelope=checks,
        alarms=alarms,
        divergence_then=then.divergence,
        divergence_now=now.divergence if now is not None else None,
        performance_then=then.performance,
        performance_now=now.performance if now is not None else None,
    )


def worst(findings: list[Finding]) -> StandingStatus:
    found = {finding.status for finding in findings}
    return "regressed" if "regressed" in found else "stale" if "stale" in found else "confirmed"


def ordered(findings: list[Finding]) -> list[str]:
    """Texts, the worst first, each once."""
    texts = [finding.text for status in WORST_FIRST for finding in findings if finding.status == status]
    return list(dict.fromkeys(texts))


# --- is it asked the same -----------------------------------------------------------------------------------------


def asked_differently(then: Evaluation, now: Evaluation) -> Iterator[Finding]:
    before, after = then.candidate, now.candidate
    if before.model != after.model:
        yield Finding(status="regressed", text=f"Another file was measured than the locked one: {after.model[:12]}.")
    if before.prompts is not None and before.prompts != after.prompts:
        yield Finding(
            status="regressed",
            text="The harness no longer renders the prompts it was locked with: a template, a limit or a stop string is another one.",
        )
    elif before.tokens is not None and before.tokens != after.tokens:
        yield Finding(
            status="regressed",
            text="The same prompts become other tokens than when the package was locked: the tokenizer is another one.",
        )
    missing = sorted({item.id for item in before.items} ^ {item.id for item in after.items})
    if missing:
        yield Finding(status="regressed", text=f"{len(missing)} items were answered only once: {some(missing)}.")


def served_differently(then: Evaluation, now: Evaluation) -> Iterator[Finding]:
    """Other settings of the runtime; nothing where an earlier version locked it, which did not note them."""
    before, after = then.candidate, now.candidate
    names = (before.serving.keys() | after.serving.keys()) - {"server"}  # its version is a change of the stack
    for name in sorted(names) if before.serving else ():
        old, new = before.serving.get(name, "none"), after.serving.get(name, "none")
        if old != new:
            yield Finding(
                status="stale",
                text=f"It was served with another {name} than when it was locked: {old} then, {new} today. "
                "To confirm it, measure again with the locked setting, or run the plan with this one.",
            )


def harness_findings(locked: Locked, today: Today, same: bool) -> Iterator[Finding]:
    """Another harness counts as the same one only where it demonstrably asked the same and found the same."""
    then, now = locked.evaluation, today.evaluation
    assert now is not None
    proven = same and then.candidate.prompts is not None and then.candidate.prompts == now.candidate.prompts
    if today.harness != then.harness and not proven:
        yield Finding(
            status="stale",
            text="The harness is another one than the package was locked with, so its scores can't be compared with certainty. "
            "To confirm it, run the plan again: baseline and candidate are then both measured with this harness.",
        )


def scored_differently(pairs: Iterable[Pair]) -> Iterator[Finding]:
    """The same words, right or wrong then and the other way today: that is the scorer's doing, not the model's."""
    found = [
        pair.source.id
        for pair in pairs
        if pair.source.response == pair.candidate.response
        and pair.source.score != pair.candidate.score
        and not pair.graded
    ]
    if found:
        yield Finding(
            status="stale",
            text=f"{len(found):,} answers are word for word the locked ones and score differently ({some(found)}), so it is the "
            "scoring that changed. Find out why; to have it confirmed with new scoring, run the plan again.",
        )


# --- what it answers ------------------------------------------------------------------------------------------------


def slice_findings(slices: tuple[SliceVerdict, ...]) -> Iterator[Finding]:
    for verdict in slices:
        if verdict.verdict in ("broken", "close"):
            yield Finding(status="regressed", text=f"Against what was locked: {verdict.reason}")
        elif verdict.verdict == "inconclusive":
            yield Finding(status="stale", text=f"Against what was locked it can't be told: {verdict.reason}")


def against_baseline(
    locked: Locked, now: Evaluation, same: bool, titles: Mapping[str, str]
) -> tuple[Verdict, list[Finding]]:
    """The plan's gate on today's results: several small losses, each within the bounds, must not add up to more than it allows."""
    if same:
        return locked.decision.verdict, []
    decision = decide(
        locked.plan.gate, locked.baseline, now, envelope=locked.plan.envelope, artifact=locked.artifact,
        attempt=locked.decision.attempt, titles=titles,
    )  # fmt: skip
    if decision.verdict == "pass":
        return decision.verdict, []
    status: StandingStatus = "stale" if decision.verdict == "inconclusive" else "regressed"
    failing = [one for one in decision.slices if one.verdict != "pass"]
    return decision.verdict, [Finding(status=status, text=f"Against full precision: {one.reason}") for one in failing]


# --- what it costs --------------------------------------------------------------------------------------------------


def envelope_findings(locked: Locked, today: Today, checks: tuple[EnvelopeCheck, ...]) -> Iterator[Finding]:
    """A promise of speed or memory that is not kept is a regression, on the hardware it was made on."""
    plan, same_hardware = locked.plan, locked.evaluation.fingerprint.hardware == today.stack.hardware
    target = check_target(plan.envelope, chip_of(plan.envelope, today.stack.hardware))
    if target.target is not None and not target.same:
        yield Finding(
            status="stale",
            text=f"{target_sentence(target)} To confirm it, measure it on a worker with that chip.",
        )
    elif missed := [check for check in checks if not check.met]:
        for check in missed:
            text = f"The envelope is no longer met: {envelope_reason(check)}"
            if same_hardware:
                yield Finding(status="regressed", text=text)
            else:
                yield Finding(status="stale", text=f"{text} This is other hardware than it was locked on.")


def unexplained(today: Today, then: Evaluation, alarms: tuple[Alarm, ...]) -> Iterator[Finding]:
    """Results that move further than harmless changes move them are not confirmed, also where every slice is within its bound."""
    if not any(alarm.name.startswith("moved") for alarm in alarms):
        return
    assert today.evaluation is not None
    same = today.harness == then.harness and not any(served_differently(then, today.evaluation))
    if same and not today.changes:
        yield Finding(
            status="stale",
            text="The results moved although nothing that is recorded of hardware, software and harness did. "
            "Find out what else changed (an environment variable, a preloaded or replaced library) and measure again.",
        )
    else:
        yield Finding(
            status="stale",
            text="The results moved further than harmless changes move them, within the gate's bounds or not. Find out why; "
            "where the new stack is meant to answer differently, run the plan again: its package is then measured with it.",
        )


# --- what is good ---------------------------------------------------------------------------------------------------


def good_news(status: StandingStatus, pairs: tuple[Pair, ...], slices: tuple[SliceVerdict, ...]) -> Iterator[str]:
    if status != "confirmed":
        return
    count = sum(changed(pair) for pair in pairs)
    if count == 0:
        yield f"All {len(pairs):,} answers and scores are the ones that were locked."
    else:
        yield f"{count:,} of {len(pairs):,} answers changed; all {len(slices)} gated quantities stay within the plan's tolerances."


def named(today: Today) -> Iterator[str]:
    if today.changes:
        words = "; ".join(f"{one.what}: {one.before} → {one.now}" for one in today.changes)
        yield f"Changed in the stack since it was locked: {words}."
    else:
        yield "Nothing that is recorded of the stack changed since it was locked."
