"""What is live, as Markdown: every endpoint on one page, and one endpoint with each signal."""

from __future__ import annotations

from collections.abc import Sequence

from quantplay.handoff.markdown import table
from quantplay.handoff.templating import md
from quantplay.live.state import Reading, Verdict
from quantplay.live.watch import Watched
from quantplay.live.words import NAMES, evidence, share
from quantplay.records.traffic import TrafficPolicy
from quantplay.store.traffic import Change

ACTIONS = {
    "continue": "✓ watched",
    "promote": "✓ more traffic",
    "hold": "! held",
    "freeze": "! blind",
    "rollback": "✕ rolled back",
    "fault": "✕ not judged",
    "nobody": "full precision only",
}
RANK = ("rollback", "fault", "freeze", "hold", "promote", "continue", "nobody")
"""Actions, the one that people have to see first."""
LATEST = 8  # changes of traffic on the page of an endpoint


def watched_markdown(watched: Sequence[Watched], policies: Sequence[TrafficPolicy]) -> str:
    """One row an endpoint."""
    by_name = {policy.endpoint: policy for policy in policies}
    rows = [
        (
            md(one.endpoint), str(by_name[one.endpoint].revision), f"{100 * by_name[one.endpoint].share:g} %",
            ACTIONS[one.action], md(sentence_of(one)),
        )
        for one in sorted(watched, key=lambda one: (RANK.index(one.action), one.endpoint))
        if one.endpoint in by_name
    ]  # fmt: skip
    return table(("Endpoint", "Revision", "Share", "Judge", "Why"), rows, numbers=(1, 2)) + "\n"


def sentence_of(one: Watched) -> str:
    if one.fault is not None:
        return one.fault.what
    return one.look.verdict.reasons[0] if one.look is not None else ""


def endpoint_markdown(one: Watched, policy: TrafficPolicy, changes: Sequence[Change]) -> str:
    """One endpoint: what the judge said and what came of it, each signal, how its traffic came to be what it is."""
    parts = [f"**{ACTIONS[one.action]}**, revision {policy.revision}, {100 * policy.share:g} % of conversations"]
    if one.fault is not None:
        parts.append(md(one.fault))
    if one.look is not None:
        verdict = one.look.verdict
        parts.append("\n".join(f"- {md(reason)}" for reason in (*verdict.reasons, *filter(None, [one.look.done]))))
        if verdict.readings:
            parts.append(signals_table(verdict))
    rows = [
        (f"{change.at:%Y-%m-%d %H:%M}", str(change.revision), change.state.replace("_", " "), f"{100 * change.weight:g} %",
         md(change.actor), md(change.reason))
        for change in changes[-LATEST:]
    ]  # fmt: skip
    parts.append(table(("When, UTC", "Revision", "State", "Share", "Who", "Why"), list(reversed(rows)), numbers=(1, 3)))
    return "\n\n".join(parts) + "\n"


def signals_table(verdict: Verdict) -> str:
    """Rates since the release, and the detector that is nearest to its threshold."""
    nearest: dict[str, Reading] = {}
    since: dict[str, Reading] = {}
    for one in verdict.readings:
        if one.detector == "launch":
            since[one.signal] = one
        best = nearest.get(one.signal)
        if best is None or one.log_e / one.log_threshold > best.log_e / best.log_threshold:
            nearest[one.signal] = one
    rows = [
        (
            NAMES[one.signal].capitalize(), share(*one.candidate), share(*one.baseline),
            f"{evidence(nearest[one.signal].log_e)} of {evidence(nearest[one.signal].log_threshold)}",
        )
        for one in since.values()
    ]  # fmt: skip
    head = ("Conversations with", "Quantized", "Full precision", "Evidence, of what takes it back")
    return table(head, rows, numbers=(1, 2, 3))
