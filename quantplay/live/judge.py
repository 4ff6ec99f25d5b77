"""The live judge: counts in, one verdict out. Pure: the same counts give the same verdict, whenever and however often it is asked.

Order of the rules: kill switch; ceilings and the comparison of the arms (a ceiling speaks first where both do); split of traffic;
blind; promotion. Where gateways say that they are there, no counts are no conversations, and nobody is blind. A rollback is latched:
the state says so until a new revision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from quantplay.errors import InputError, IntegrityError
from quantplay.live import words
from quantplay.live.accumulate import fresh_state, judged, parts
from quantplay.live.counts import CANDIDATE, Snapshot, newer
from quantplay.live.detectors import detectors_of
from quantplay.live.policy import Policy
from quantplay.live.promotion import promotion_levels
from quantplay.live.readings import readings_of, reason_of
from quantplay.live.reference import compared_with, with_reference
from quantplay.live.rules import FREEZE_SECONDS, PROMOTION_EVIDENCE, LiveRules
from quantplay.live.state import Action, Cause, JudgeState, Reading, RolledBack, Verdict
from quantplay.records.rollback_rules import SIGNALS


def judge(
    rules: LiveRules, policy: Policy, history: Sequence[Snapshot], state: JudgeState | None, now: int, alive_at: int | None = None
) -> Verdict:  # fmt: skip
    """What is to be done at `now` (seconds since 1970, UTC).

    `history`: cumulative counters of the policy's revision, at any times and in any order; those the state has seen are passed over.
    `state`: of the verdict before, None at first. `alive_at`: when a gateway last said that it is there and all its counts are told;
    None where none did. Errors: IntegrityError where counters fell, InputError where they can't be judged.
    """
    state = _state_for(rules, policy, state, now)
    if state.rolled_back is not None:
        told = state.rolled_back
        return Verdict(action="rollback", cause=told.cause, reasons=told.reasons, at=told.at, state=state)
    if policy.killed:
        return _rollback(state, "kill_switch", ("The kill switch is on.",), now)
    detectors = detectors_of(rules)
    for part in parts(policy, newer(history, after=state.at, revision=policy.revision, now=now), state):
        state, crossings = judged(rules, policy, detectors, part, state)
        if crossings:
            floors = crossings[0].row >= len(detectors.relative)
            reasons = tuple(reason_of(with_reference(detectors, state), state, one) for one in crossings)
            return _rollback(state, "floor" if floors else "worse", reasons, state.at, readings_of(detectors, state))
    return _unhurried(rules, policy, state, now, max(state.at, alive_at or 0), readings_of(detectors, state))


def _unhurried(
    rules: LiveRules, policy: Policy, state: JudgeState, now: int, seen_at: int, readings: tuple[Reading, ...]
) -> Verdict:
    """The rules after the detectors of damage."""

    def say(action: Action, cause: Cause, reason: str, next_weight: float | None = None) -> Verdict:
        return Verdict(
            action=action,
            cause=cause,
            reasons=(reason,),
            at=state.at,
            next_weight=next_weight,
            readings=readings,
            state=state,
        )

    silent, unseen, limit = now - state.at, now - seen_at, rules.limits.blind_minutes
    silence = words.no_counts(unseen, limit)
    if (
        policy.weight > 0 and unseen >= 60 * limit
    ):  # before the hold: a split that is off must not keep a blind judge waiting
        return _rollback(state, "blind", (silence,), now, readings)
    if state.mismatch_since is not None:
        return say("hold", "mismatch", state.mismatch_reason)
    if policy.weight > 0 and unseen >= min(FREEZE_SECONDS, 60 * limit):
        return say("freeze", "blind", silence)
    if policy.weight > 0 and silent >= FREEZE_SECONDS:
        return say("continue", "waiting", words.no_conversations(silent))
    following = policy.next_weight(rules)
    if following is None:
        return say("continue", "at_the_top", words.at_the_top(policy.weight, compared_with(state)))
    if state.stage_weight != policy.weight:
        return say("continue", "waiting", "Waiting for the first counts at this share of traffic.")
    conversations = state.counts[CANDIDATE][0] - state.stage_conversations
    if conversations < rules.limits.min_conversations:
        return say("continue", "waiting", words.missing_conversations(conversations, rules.limits.min_conversations))
    sure = promotion_levels(np.array(state.promotion))
    least, margin = int(sure.argmin()), rules.limits.promotion_margin
    if sure[least] < math.log(PROMOTION_EVIDENCE):
        reason = words.missing_evidence(SIGNALS[least], float(sure[least]), PROMOTION_EVIDENCE, margin)
        return say("continue", "waiting", reason)
    reason = words.good_enough(conversations, following, float(sure[least]), SIGNALS[least], margin)
    return say("promote", "as_good", reason, following)


def _state_for(rules: LiveRules, policy: Policy, state: JudgeState | None, now: int) -> JudgeState:
    if state is None or state.revision < policy.revision:
        state = fresh_state(rules, policy)
    elif state.revision > policy.revision:
        raise InputError(
            "the judge has seen a later revision than this policy",
            value=f"revision {policy.revision}",
            allowed=f"revision {state.revision} or later",
            fix="read the policy that is in force",
        )
    elif state.rules != rules.digest():
        raise IntegrityError(
            "the rules changed under a running comparison",
            value=f"revision {policy.revision}",
            allowed="the rules the revision began with",
            fix="release a new revision with the new rules",
        )
    if now < state.at:
        raise InputError(
            "the judge's clock is behind the counts it has seen",
            value=f"{state.at - now} seconds",
            fix="set the clocks of gateway and judge by one source",
        )
    return state


def _rollback(
    state: JudgeState, cause: Cause, reasons: tuple[str, ...], at: int, readings: tuple[Reading, ...] = ()
) -> Verdict:
    told = RolledBack.model_validate({"at": at, "cause": cause, "reasons": reasons})
    ended = state.model_copy(update={"rolled_back": told})
    return Verdict(action="rollback", cause=cause, reasons=reasons, at=at, readings=readings, state=ended)
