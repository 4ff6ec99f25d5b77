"""After: released beside full precision, watched, measured again, and what went wrong learned from."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.answers import Answer, line
from quantplay.audit.facts import Facts, Release
from quantplay.audit.mistakes.rollback import too_loose
from quantplay.records import RollbackRules

DRIFT = "traffic.drift"
INTERNAL = "profile internal: no staged rollout, no monitoring"
SEE_ENDPOINT = "Only a release tells: quantplay audit ENDPOINT (quantplay traffic lists them)."


def after(facts: Facts) -> Iterator[Answer]:
    call = facts.owner("on_call")
    release = facts.releases[0] if facts.releases else None
    yield from live(facts, release, call)
    standing = facts.standing
    yield line(
        "after", "Does it hold since it was measured again?", call, None if standing is None else standing.status == "confirmed",
        *([facts.shows("standing", f"{standing.status} on {standing.at}: {standing.reasons[0] if standing.reasons else ''}")] if standing else []),
        why=standing.reasons[0] if standing and standing.reasons else "", fix="quantplay revalidate KEY",
        ask="No re-validation is on record; runtimes, drivers and kernels change under a package.",
    )  # fmt: skip
    yield drift(facts)
    yield incidents(facts)


def live(facts: Facts, release: Release | None, call: str) -> Iterator[Answer]:
    """Five lines about the release; profile internal needs them not."""
    questions = (
        "Are both artifacts deployed, full precision as well?", "Would the rollback rules ever fire?",
        "Does traffic rise in steps?", "Does a share stay on full precision to compare with?", "Has the judge spoken?",
    )  # fmt: skip
    if release is None:
        internal = facts.profile == "internal" and facts.plan is not None
        for question in questions:
            if internal:
                yield Answer(
                    section="after", question=question, answer="waived", owner=call, why=INTERNAL, reason=INTERNAL,
                    evidence=(facts.shows("plan", "profile internal"),),
                )  # fmt: skip
            else:
                yield line(
                    "after", question, call, None, ask=SEE_ENDPOINT, fix="quantplay release PACKAGE --endpoint NAME"
                )
        return
    policy, where = release.policy, f"{release.endpoint}, revision {release.revision}"
    rules, back = policy.rules, f"quantplay rollback {release.endpoint}"
    state = f", {release.traffic.state}, {100 * release.traffic.weight:g} %" if release.traffic else ""
    yield line(
        "after", questions[0], call, policy.full_precision.artifact != policy.quantized.artifact,
        facts.shows("release", f"{where}{state}: {policy.quantized.artifact[:12]} beside {policy.full_precision.artifact[:12]}"),
        why="Both arms are the same file.", fix=back,
    )  # fmt: skip
    loose = list(too_loose(rules))
    yield line(
        "after", questions[1], call, not loose,
        facts.shows("release", ", ".join(f"{name} above {100 * share:g} %" for name, share in rules.ceilings.items()) or "no ceiling"),
        why=loose[0] if loose else "", fix="tighten rollback_rules in the plan",
    )  # fmt: skip
    yield line(
        "after", questions[2], call, len(policy.steps) > 1 and min(policy.steps) < 1,
        facts.shows("release", "steps " + ", ".join(f"{100 * step:g} %" for step in policy.steps)),
        why="One step takes it all.", fix=f"quantplay release PACKAGE --endpoint {release.endpoint} --steps 5,25,50,100",
    )  # fmt: skip
    yield line(
        "after", questions[3], call, rules.holdback > 0, facts.shows("release", f"holdback {100 * rules.holdback:g} %"),
        why="Nobody stays on full precision; limits come from the past.", fix="rollback_rules.holdback in the plan",
    )  # fmt: skip
    fixed = (facts.plan.rollback_rules or RollbackRules()) if facts.plan is not None else None
    yield line(
        "after", "Are the rules in force those the plan fixed?", call, None if fixed is None else rules == fixed,
        facts.shows("release", f"rules {rules.digest()[:12]}"), why="The release goes by other rules than the plan's.",
        ask="No plan is on record.", fix=back,
    )  # fmt: skip
    said = release.judgement
    yield line(
        "after", questions[4], call, None if said is None else said.get("action") in ("continue", "promote"),
        *([facts.shows("release", f"the judge: {said.get('action') or said.get('standing') or 'a fault'}, {said.get('cause', '')}")] if said else []),
        why="It does not say that all is well.", ask="No judgement is on record: does the judge run?", fix=f"quantplay judge {release.endpoint}",
    )  # fmt: skip


def drift(facts: Facts) -> Answer:
    found = facts.last(DRIFT)
    told = found.body if found is not None else {}
    reasons = told.get("reasons") or ("",)
    return line(
        "after", "Is traffic still what it was calibrated for?", facts.owner("product_owner"), None if found is None else not told.get("due"),
        *([facts.event(found, f"{told.get('day')}: {told.get('status')}. {reasons[0]}")] if found else []),
        why=str(reasons[0]), ask="No look at drift is on record.",
        fix="quantplay drift ENDPOINT" if found is None else "quantplay revalidate KEY",
    )  # fmt: skip


def incidents(facts: Facts) -> Answer:
    """A yes rests on incidents whose lessons went somewhere; that there was none can't be shown by what is not there."""
    still = [one for one in facts.incidents if one.closed_at is None]
    empty = [one for one in facts.incidents if one.closed_at is not None and not one.learned]
    close = [
        f"--close {str(one.id)[:8]} --reason TEXT --lesson TEXT --folded-into WHAT --where REFERENCE"
        for one in [*still, *empty]
    ]
    return line(
        "after", "Is every incident closed, with what was learned?", facts.owner("on_call"),
        None if not facts.incidents else not still and not empty,
        *(facts.incident(one) for one in facts.incidents),
        why=still[0].what if still else "Closed before an incident took a lesson: nothing was written down.",
        fix=" ".join(["quantplay registry incidents", *close[:1]]), ask="No incident is on record.",
    )  # fmt: skip
