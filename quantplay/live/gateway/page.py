"""The page of operators: endpoints, arms, shares, what the judge said last and why, and the evidence. No script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from quantplay.handoff.charts import TEMPLATES, Chart, chart_css
from quantplay.live.chart import evidence_chart
from quantplay.live.gateway.history import Remembered
from quantplay.live.state import Verdict
from quantplay.live.words import NAMES
from quantplay.records.rollback_rules import SIGNALS
from quantplay.records.traffic import ServedBy, TrafficPolicy

if TYPE_CHECKING:
    from jinja2 import Template

REFRESH_SECONDS = 10
ARMS: tuple[tuple[ServedBy, str], ...] = (("quantized", "quantized"), ("full_precision", "full precision"))
TONES = {"canary": "info", "live": "good", "rolled_back": "bad", "retired": "info", "locked": "info"}
ACTIONS = {
    "continue": "found nothing to change", "promote": "gave it more traffic", "hold": "holds the ramp", "freeze": "holds the ramp",
    "rollback": "took it back",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Served:
    """One arm."""

    name: str
    url: str
    model: str
    fault: str | None  # why it gets no traffic
    share: float
    conversations: int


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What this process knows of one endpoint, taken on its event loop."""

    policy: TrafficPolicy
    arms: tuple[Served, ...]
    counts: Mapping[tuple[ServedBy, str], int]  # of this process since it began


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One endpoint as the page has it."""

    name: str
    tone: str
    state: str
    head: str
    judge: str
    at: str
    endpoint: Endpoint
    rows: tuple[tuple[str, str, str], ...]  # signal, quantized, full precision; where there is no chart
    chart: Chart | None
    remembered: Remembered


def rendered(endpoints: list[Endpoint], remembered: Mapping[str, Remembered], faults: list[str], *, now: float, judged: bool) -> str:  # fmt: skip
    """The page at `now` (Unix time). judged: there is a database, in which a judge would write."""
    return template().render(
        css=Markup(chart_css() + (TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own files
        refresh=REFRESH_SECONDS,
        at=clock(now),
        faults=faults,
        judged=judged,
        shown=[shown(one, remembered.get(one.policy.endpoint), now, judged=judged) for one in endpoints],
    )


@cache
def template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "clock": lambda at: clock(at.timestamp())}
    return environment.get_template("page.html.jinja")


def shown(endpoint: Endpoint, remembered: Remembered | None, now: float, *, judged: bool) -> Shown:
    policy, found = endpoint.policy, remembered or Remembered()
    last = found.verdicts[-1] if found.verdicts else None
    chart = evidence_chart(found.verdicts)
    return Shown(
        name=policy.endpoint,
        tone="bad" if policy.kill else TONES[policy.state],
        state="switched off" if policy.kill else policy.state.replace("_", " "),
        head=head(policy),
        judge=judge_said(policy, last, known=remembered is not None, judged=judged),
        at="" if last is None else ago(now - last.at),
        endpoint=endpoint,
        rows=() if chart is not None else rows(endpoint),
        chart=chart,
        remembered=found,
    )


def head(policy: TrafficPolicy) -> str:
    if policy.kill:
        return "Everybody has full precision: the kill switch is on."
    if policy.share:
        rest = "full precision answers the others" if policy.share < 1 else "nobody is on full precision"
        return f"The quantized model answers {percent(policy.share)} of conversations; {rest}."
    why = {
        "rolled_back": "the quantized model was taken back",
        "retired": "this revision is history",
        "locked": "nothing is released yet",
    }
    return f"Everybody has full precision{': ' + why[policy.state] if policy.state in why else ''}."


def judge_said(policy: TrafficPolicy, last: Verdict | None, *, known: bool, judged: bool) -> str:
    if not judged:
        return "Policies come from a file, so no judge looks at this endpoint: what is counted here is below."
    if not known:
        return "What the judge said can't be read now; below is what this process counted."
    if last is None:
        return "The judge has not looked at this revision yet. Is `quantplay judge` running?" if policy.share else ""
    return f"The judge {ACTIONS[last.action]}. {' '.join(last.reasons)}"


def rows(endpoint: Endpoint) -> tuple[tuple[str, str, str], ...]:
    """Share of conversations with each signal, as this process counted since it began."""

    def cell(arm: ServedBy, name: str) -> str:
        of = endpoint.counts.get((arm, "conversations"), 0)
        count = endpoint.counts.get((arm, name), 0)
        return f"{count:,} of {of:,}" + (f" ({percent(count / of)})" if of else "")

    return tuple((NAMES[name], cell("quantized", name), cell("full_precision", name)) for name in SIGNALS)


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def ago(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0, seconds):.0f} s ago"
    return f"{seconds / 60:.0f} minutes ago" if seconds < 7200 else f"{seconds / 3600:.0f} hours ago"


def clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%d %b %H:%M:%S} UTC"
