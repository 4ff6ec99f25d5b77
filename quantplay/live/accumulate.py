"""What the judge learns from the counts between two looks: the state before and the snapshots in, the state after out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quantplay.live import words
from quantplay.live.counts import CANDIDATE, Looks, Snapshot, check_forward, pooled, totals
from quantplay.live.detectors import Crossing, Detectors, Evidence, advance, detectors_of, nothing_yet
from quantplay.live.policy import Policy
from quantplay.live.promotion import ODDS_OFF, mismatch_path, no_promotion_yet, promotion_logs
from quantplay.live.reference import reference_limits, with_reference
from quantplay.live.rules import MISMATCH_ALPHA, RESTART_SECONDS, LiveRules
from quantplay.live.speed import allowed_shift, slow_decode
from quantplay.live.state import JudgeState
from quantplay.records.rollback_rules import SIGNALS

Array = NDArray[np.float64]


def fresh_state(rules: LiveRules, policy: Policy) -> JudgeState:
    """The state in which a revision begins."""
    nothing = nothing_yet(detectors_of(rules))
    return JudgeState.model_validate(
        {
            "revision": policy.revision,
            "rules": rules.digest(),
            "at": policy.since,
            "counts": [[0] * (1 + len(SIGNALS))] * 2,
            "decode": [{}, {}],
            "open": np.zeros((1 + len(SIGNALS), 2)).tolist(),
            "promotion": no_promotion_yet().tolist(),
            "mismatch": [0.0] * len(ODDS_OFF),
            **_evidence_body(nothing),
        }
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """Consecutive snapshots between two restarts and two changes of the share of traffic."""

    snapshots: list[Snapshot]
    restarts: int  # after the last


def parts(policy: Policy, fresh: list[Snapshot], state: JudgeState) -> Iterator[Part]:
    before, weight, held = state.at, state.stage_weight, list[Snapshot]()
    for one in fresh:
        if one.weight is not None and one.weight != weight:
            if held:
                yield Part(snapshots=held, restarts=0)
            held, weight = [], one.weight
        held.append(one)
        hours = (one.at - policy.since) // RESTART_SECONDS - (before - policy.since) // RESTART_SECONDS
        before = one.at
        if hours:
            yield Part(snapshots=held, restarts=hours)
            held = []
    if held:
        yield Part(snapshots=held, restarts=0)


def judged(
    rules: LiveRules, policy: Policy, detectors: Detectors, part: Part, state: JudgeState
) -> tuple[JudgeState, list[Crossing]]:
    """The state after a part, or after its first look at which a detector is at its threshold, with the detectors that are."""
    fresh = part.snapshots
    staged = next((one.weight for one in fresh if one.weight is not None), state.stage_weight)
    new_stage = staged != state.stage_weight
    if new_stage and staged == 1 and rules.alone_at_the_top:
        state = state.model_copy(update={"reference": reference_limits(rules, state)})
    counts = np.array([totals(one) for one in fresh], dtype=np.int64)  # (T, 2, 1 + S)
    check_forward([list(arm) for arm in state.counts], counts, fresh)
    rise = np.diff(np.concatenate([np.array([state.counts]), counts]), axis=0).transpose(2, 1, 0).astype(np.float64)
    seconds = np.diff([state.at, *(one.at for one in fresh)]).astype(np.float64)
    raw = Looks(events=rise[1:], exposure=rise[0], seconds=seconds)
    compared, open_ = pooled(raw, np.array(state.open))
    decode, histograms = np.zeros((2, 2, len(fresh))), list(state.decode)
    if rules.locked_slowdown is not None:
        shift = allowed_shift(rules.locked_slowdown, rules.limits.max_decode_slowdown)
        decode, histograms = slow_decode(state.decode, fresh, shift)
    advanced = advance(
        with_reference(detectors, state),
        evidence_of(state),
        _batch(rules, raw, decode),
        compared=_batch(rules, compared, decode),
        restarts=part.restarts,
    )
    if advanced.crossings:
        look = advanced.crossings[0].look
        if look + 1 < len(fresh):
            return judged(rules, policy, detectors, Part(snapshots=fresh[: look + 1], restarts=0), state)
    weights = np.array([np.nan if one.weight is None else one.weight for one in fresh])
    known = ~np.isnan(weights)
    promotion = promotion_logs(
        rules,
        no_promotion_yet() if new_stage else np.array(state.promotion),
        replace(raw, events=raw.events * known, exposure=raw.exposure * known),
        replace(compared, events=compared.events * known, exposure=compared.exposure * known),
    )
    mismatch = mismatch_path(np.array(state.mismatch), raw.exposure, weights)
    body = {
        **dict(state),
        "at": fresh[-1].at,
        "counts": counts[-1].tolist(),
        "decode": histograms,
        "open": open_.tolist(),
        "stage_weight": staged,
        "stage_conversations": state.counts[CANDIDATE][0] if new_stage else state.stage_conversations,
        "promotion": promotion.tolist(),
        "mismatch": mismatch[1:, -1].tolist(),
        **_mismatch_body(state, fresh, counts, mismatch[0]),
        **_evidence_body(advanced.evidence),
    }
    last = [one for one in advanced.crossings if one.look == len(fresh) - 1]
    return JudgeState.model_validate(body), last


def _batch(rules: LiveRules, looks: Looks, decode: Array) -> Looks:
    """A batch of one, with slow decoding as a signal of its own exposure where the package knows its speed."""
    if rules.locked_slowdown is None:
        return replace(looks, events=looks.events[None], exposure=looks.exposure[None])
    exposure = np.concatenate([np.repeat(looks.exposure[None], len(SIGNALS), axis=0), decode[:1]])
    return replace(looks, events=np.concatenate([looks.events, decode[1:]])[None], exposure=exposure[None])


def _mismatch_body(
    state: JudgeState, fresh: list[Snapshot], counts: NDArray[np.int64], levels_: Array
) -> dict[str, object]:
    threshold = -math.log(MISMATCH_ALPHA)
    above = levels_ >= threshold
    if state.mismatch_since is not None or not above.any():
        return {}
    look = int(above.argmax())
    candidate, total = int(counts[look, CANDIDATE, 0]), int(counts[look, :, 0].sum())
    reason = words.mismatched(candidate, total, fresh[look].weight or 0.0, float(levels_[look]), threshold)
    return {"mismatch_since": fresh[look].at, "mismatch_reason": reason}


def evidence_of(state: JudgeState) -> Evidence:
    return Evidence(
        logs=np.array(state.logs)[None],
        since_launch=np.array(state.since_launch)[None],
        window=np.array(state.window)[None],
    )


def _evidence_body(evidence: Evidence) -> dict[str, object]:
    return {
        "logs": evidence.logs[0].tolist(),
        "since_launch": evidence.since_launch[0].tolist(),
        "window": evidence.window[0].tolist(),
    }
