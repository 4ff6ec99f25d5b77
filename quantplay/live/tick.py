"""One look of the judge at one endpoint: read what was counted, judge, act, remember. Killed anywhere, the next one goes on.

A verdict is acted on before it is remembered: a rollback that is not remembered is given again, and changes nothing. Runs with
Prefect or without.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from quantplay.digest import canonical_json
from quantplay.errors import Conflict, IntegrityError
from quantplay.live.counts import ArmCounts, Snapshot
from quantplay.live.judge import judge
from quantplay.live.policy import Policy
from quantplay.live.release import holder_name
from quantplay.live.rules import LiveRules
from quantplay.live.state import JudgeState, Verdict
from quantplay.live.words import NO_COUNTS
from quantplay.records.rollback_rules import SIGNALS
from quantplay.records.traffic import SERVING, PolicyRevision, ServedBy, TrafficPolicy
from quantplay.store.registry import Store
from quantplay.store.telemetry import Totals

JUDGE = "judge"
ROLLED_BACK = "traffic.rolled_back"  # kind of event
DAY_SECONDS = 86_400
DECODE = "decode:"  # a histogram's counters: the name, then the bucket


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the judge said and what came of it."""

    endpoint: str
    revision: int
    verdict: Verdict
    done: str  # a sentence; empty where nothing was to be done


def look(store: Store, endpoint: str, now: int | None = None) -> Look | None:
    """Judge what serves at `endpoint`; None where the quantized model serves nobody there, or there is no such endpoint.

    now: seconds since 1970. Raises IntegrityError where counters fell.
    """
    policies = store.traffic_policies(endpoint)
    if not policies or policies[0].state not in SERVING:
        if policies and policies[0].state == "rolled_back":
            make_up(store, policies[0])
        return None
    policy, moment = policies[0], int(time.time()) if now is None else now
    revision = store.policy_revision(endpoint, policy.revision)
    rules = LiveRules(limits=revision.rules, locked_slowdown=revision.decode_ratio)
    changes = [one for one in store.traffic_changes(endpoint) if one.revision == policy.revision]
    before = last_state(store, endpoint, policy.revision)
    same = before is not None and int(changes[-1].at.timestamp()) <= before.at
    totals = store.live_totals(endpoint, policy.revision)
    in_force = Policy(
        revision=policy.revision,
        since=int(changes[0].at.timestamp()),
        weight=policy.weight,
        steps=revision.steps,
        killed=policy.kill,
    )
    fresh = (
        ()
        if before is not None and not newer_than(totals, before)
        else (snapshot(totals, policy, moment, steady=same),)
    )
    verdict = judge(rules, in_force, fresh, before, moment, alive_at(store, endpoint, moment))
    done = act(store, policy, revision, verdict)
    store.put_judgement(endpoint, policy.revision, moment, canonical_json(verdict.body()).decode())
    return Look(endpoint=endpoint, revision=policy.revision, verdict=verdict, done=done)


def alive_at(store: Store, endpoint: str, now: int) -> int | None:
    """When a gateway that serves `endpoint` last said that it is there."""
    ago = [one.seconds_ago for one in store.gateways_seen(DAY_SECONDS) if endpoint in one.versions]
    return now - math.ceil(min(ago)) if ago else None


def last_state(store: Store, endpoint: str, revision: int) -> JudgeState | None:
    found = store.judgements(endpoint, revision, newest=1)
    try:
        return Verdict.model_validate_json(found[-1]).state if found else None
    except ValueError as error:
        raise IntegrityError(
            "what the judge remembers of this revision is no verdict", value=f"{endpoint}, revision {revision}",
            fix="it was written by another version: use that one, or release a new revision",
        ) from error  # fmt: skip


def newer_than(totals: Totals, state: JudgeState) -> bool:
    """Whether anything was counted since: counters that stand still are no counts, but silence."""
    return sum(totals.get((arm, "conversations"), 0) for arm in ARMS) > sum(arm[0] for arm in state.counts)


ARMS: tuple[ServedBy, ServedBy] = ("quantized", "full_precision")


def snapshot(totals: Totals, policy: TrafficPolicy, now: int, *, steady: bool) -> Snapshot:
    """The sums as the judge takes them. steady: the share was the same since the snapshot before."""
    candidate, baseline = (counts_of(totals, arm) for arm in ARMS)
    return Snapshot(
        at=now,
        revision=policy.revision,
        candidate=candidate,
        baseline=baseline,
        weight=policy.weight if steady else None,
    )


def counts_of(totals: Totals, arm: ServedBy) -> ArmCounts:
    told = {name: value for (which, name), value in totals.items() if which == arm}
    return ArmCounts(
        conversations=told.get("conversations", 0),
        events={name: told[name] for name in SIGNALS if name in told},
        decode={int(name.removeprefix(DECODE)): value for name, value in told.items() if name.startswith(DECODE)},
    )


def act(store: Store, policy: TrafficPolicy, revision: PolicyRevision, verdict: Verdict) -> str:
    """Do what the verdict asks for; a sentence on what came of it."""
    reason = " ".join(verdict.reasons)
    if verdict.action == "rollback":
        version = store.roll_back(policy.endpoint, actor=JUDGE, reason=reason, revision=policy.revision)
        if version is None:
            return "It was taken back already."
        tell(store, policy, revision, version, verdict.cause, reason)
        return f"Revision {policy.revision} is rolled back; everybody has full precision."
    if verdict.action == "promote" and verdict.next_weight is not None:
        return promote(store, policy, revision, verdict.next_weight, reason)
    return ""


def tell(store: Store, policy: TrafficPolicy, revision: PolicyRevision, version: int, cause: str, reason: str) -> None:
    """What a rollback by the judge leaves behind, beside the row that decides."""
    if revision.package is not None and cause != "blind":
        store.open_incident(kind="live rollback", package=revision.package, what=reason)
    told = {"revision": policy.revision, "version": version, "cause": cause, "reason": reason}
    store.append_event(JUDGE, ROLLED_BACK, policy.endpoint, told)


def make_up(store: Store, policy: TrafficPolicy) -> None:
    """For a judge that was killed after it had taken a model back, and before it had told."""
    (last,) = store.traffic_changes(policy.endpoint, policy.version - 1)[-1:]
    if last.actor != JUDGE:
        return
    events = store.events(kind=ROLLED_BACK, subject=policy.endpoint)
    if all(one.body.get("version") != last.version for one in events):
        cause = "blind" if last.reason.startswith(NO_COUNTS) else "damage"
        tell(store, policy, store.policy_revision(policy.endpoint, last.revision), last.version, cause, last.reason)


def promote(store: Store, policy: TrafficPolicy, revision: PolicyRevision, weight: float, reason: str) -> str:
    """More traffic, under the lease and from the version that was judged."""
    top = weight >= min(max(revision.steps), 1 - revision.rules.holdback)
    holder = f"{JUDGE} {holder_name()}"
    try:
        epoch = store.take_lease(policy.endpoint, holder)
        try:
            store.point(
                policy.endpoint, revision=policy.revision, state="live" if top else "canary", weight=weight, epoch=epoch,
                expected=policy.version, actor=JUDGE, reason=reason,
            )  # fmt: skip
        finally:
            store.give_lease(policy.endpoint, holder)
    except Conflict as error:
        return f"No more traffic yet: {error.what}."
    store.append_event(
        JUDGE, "traffic.promoted", policy.endpoint, {"revision": policy.revision, "weight": weight, "reason": reason}
    )
    return f"{100 * weight:g} % of conversations go to the quantized model."
