"""What there is beside single packages: the funnel, incidents, endpoints with what the judge said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantplay.handoff.charts import Chart
from quantplay.live.chart import POINTS, evidence_chart
from quantplay.live.gateway.page import TONES, head, judge_said
from quantplay.live.state import Verdict
from quantplay.outcomes import OUTCOMES
from quantplay.plays.funnel import FunnelRow, Passage, funnel
from quantplay.records.traffic import TrafficPolicy
from quantplay.store.catalogue import Entry, Wanted
from quantplay.store.incidents import Incident
from quantplay.store.registry import Store
from quantplay.store.traffic import Change

CHANGES = 20  # the newest, of an endpoint


def funnel_of(store: Store) -> tuple[FunnelRow, ...]:
    return funnel([
        Passage(run=str(one.run), model=one.model, plays=one.plays, left_at=one.left_at, outcome=one.outcome)  # type: ignore[arg-type]
        for one in store.passages()
    ])  # fmt: skip


def outcome_title(name: str) -> str:
    return OUTCOMES[name].title if name in OUTCOMES else name


@dataclass(frozen=True, kw_only=True)
class About:
    """An incident with what it is about."""

    incident: Incident
    package: Entry | None  # None where it is not known any more


def incidents_of(store: Store) -> tuple[About, ...]:
    """Open ones first."""
    found = store.list_incidents()
    named = tuple(sorted({one.package for one in found}))  # by key, or by the manifest that a release names
    wanted = (Wanted(keys=named), Wanted(manifests=named)) if named else ()
    entries = [entry for asked in wanted for entry in store.find_packages(asked)]
    known = {entry.manifest: entry for entry in entries} | {entry.key: entry for entry in entries}
    return tuple(About(incident=one, package=known.get(one.package)) for one in found)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint of play 8."""

    policy: TrafficPolicy
    tone: str
    state: str
    head: str
    judge: str
    package: Entry | None  # that its policy names; None for an experiment, or where it is not in this registry
    chart: Chart | None
    changes: tuple[Change, ...]  # newest first


def endpoints_of(store: Store) -> tuple[Endpoint, ...]:
    policies = sorted(store.traffic_policies(), key=lambda one: one.endpoint)
    manifests = {one.endpoint: store.policy_revision(one.endpoint, one.revision).package for one in policies}
    released = tuple({one for one in manifests.values() if one is not None})
    known = {one.manifest: one for one in store.find_packages(Wanted(manifests=released))} if released else {}
    return tuple(endpoint_of(store, one, known.get(manifests[one.endpoint] or "")) for one in policies)


def endpoint_of(store: Store, policy: TrafficPolicy, package: Entry | None) -> Endpoint:
    told: Sequence[str] = store.judgements(policy.endpoint, policy.revision, most=POINTS)
    verdicts = [Verdict.model_validate_json(one) for one in told]
    return Endpoint(
        policy=policy,
        tone="bad" if policy.kill else TONES[policy.state],
        state="switched off" if policy.kill else policy.state.replace("_", " "),
        head=head(policy),
        judge=judge_said(policy, verdicts[-1] if verdicts else None, known=True, judged=True),
        package=package,
        chart=evidence_chart(verdicts),
        changes=tuple(reversed(store.traffic_changes(policy.endpoint)[-CHANGES:])),
    )
