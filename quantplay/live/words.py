"""Reasons of the judge, in words with the numbers behind them."""

from __future__ import annotations

import math

from quantplay.live.rules import LiveSignal

NAMES: dict[LiveSignal, str] = {
    "error": "errors",
    "thumbs_down": "thumbs-down",
    "escalation": "escalations",
    "downstream_error": "downstream errors",
    "slow_first_token": "slow first tokens",
    "other_arm": "answers by the other model",
    "slow_decode": "slow decoding",
}

NO_COUNTS = "No counts for"


def evidence(log_e: float) -> str:
    """An e-value that may be beyond any float."""
    power = log_e / math.log(10)
    if power > 9:
        return f"10^{power:.1f}"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def share(events: float, conversations: float) -> str:
    return f"{events:,.0f} of {conversations:,.0f}"


def times(candidate: tuple[float, float], baseline: tuple[float, float]) -> str:
    """How many times the rate, (events, conversations) an arm."""
    if not candidate[1] or not baseline[0]:
        return "with none there"
    return f"{candidate[0] / candidate[1] / (baseline[0] / baseline[1]):.2f} times the rate"


def worse(
    signal: LiveSignal, candidate: tuple[float, float], baseline: tuple[float, float], *,
    since_launch: bool, tolerated: float, log_e: float, log_threshold: float,
) -> str:  # fmt: skip
    """A signal that is worse than on full precision; counts are (events, conversations)."""
    when = "since the release" if since_launch else "lately"
    return (
        f"{NAMES[signal].capitalize()}: {share(*candidate)} conversations on the quantized model against {share(*baseline)} on full "
        f"precision {when}, {times(candidate, baseline)}; {tolerated:g} times is tolerated. "
        f"Evidence {evidence(log_e)}, threshold {evidence(log_threshold)}."
    )


def above_ceiling(
    signal: LiveSignal,
    candidate: tuple[float, float],
    *,
    since_launch: bool,
    ceiling: float,
    before: int = 0,
    log_e: float,
    log_threshold: float,
) -> str:
    """before: conversations of full precision that the ceiling was taken from; 0: it stands in the rules."""
    when = "since the release" if since_launch else "lately"
    source = (
        f", the most that is tolerated after full precision's {before:,} conversations before the cut-over"
        if before
        else ""
    )
    return (
        f"{NAMES[signal].capitalize()}: {share(*candidate)} conversations on the quantized model {when}, above the ceiling of "
        f"{100 * ceiling:.3g} %{source}. Evidence {evidence(log_e)}, threshold {evidence(log_threshold)}."
    )


def mismatched(candidate: int, total: int, weight: float, log_e: float, log_threshold: float) -> str:
    return (
        f"The quantized model got {share(candidate, total)} conversations; the policy gives it {100 * weight:g} % now. Evidence that traffic "
        f"is not split as ordered {evidence(log_e)}, threshold {evidence(log_threshold)}. Nothing is promoted on such counts."
    )


def no_counts(seconds: int, limit: int) -> str:
    return f"{NO_COUNTS} {seconds / 60:.0f} minutes; without sight the quantized model is taken back after {limit}."


def no_conversations(seconds: int) -> str:
    return f"No conversations for {seconds / 60:.0f} minutes. The gateways are there, so nothing is hidden by that."


def at_the_top(weight: float, before: int = 0) -> str:
    """before: conversations of full precision before the cut-over, where they stand in for it."""
    if weight < 1:
        return f"The share of traffic is where the policy ends; {100 * (1 - weight):.3g} % stay on full precision to compare with."
    if before:
        return (
            f"Nobody is on full precision any more: its {before:,} conversations before the cut-over stand in for it, which don't share "
            "what happens now. Limits are taken from them."
        )
    return "Nothing stays on full precision to compare with: only the ceilings are watched."


def missing_evidence(signal: LiveSignal, log_e: float, needed: float, margin: float) -> str:
    return (
        f"Waiting for evidence that {NAMES[signal]} are below {margin:g} times those of full precision: "
        f"{evidence(log_e)} of {needed:g} so far."
    )


def missing_conversations(have: int, needed: int) -> str:
    return f"Waiting for conversations on the quantized model: {have:,} of {needed:,} in this stage."


def good_enough(conversations: int, weight: float, log_e: float, signal: LiveSignal, margin: float) -> str:
    return (
        f"After {conversations:,} conversations on the quantized model no signal is at {margin:g} times full precision; the least sure are "
        f"{NAMES[signal]} with evidence {evidence(log_e)}. Its share may rise to {100 * weight:g} %."
    )
