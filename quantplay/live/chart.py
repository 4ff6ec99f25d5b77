"""Each signal's evidence over time, against the threshold at which the quantized model is taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from quantplay.handoff.charts import Chart, Row, Scale, dot, joined, line, path, words
from quantplay.live.rules import LiveSignal
from quantplay.live.state import Reading, Verdict
from quantplay.live.words import NAMES, evidence

ONE_COLUMN = 7  # rows; more take two
POINTS = 160  # of a line; more can't be told apart
HEIGHT, TOP, ZERO = 54, 8, 40  # px: the threshold, and no evidence either way
LINES = (("launch", "cand"), ("change", "base"))
LEGEND = (("cand", "since the release"), ("base", "what changed lately"))
LOWEST = -0.25  # of the threshold: what lies deeper is drawn there


def evidence_chart(verdicts: Sequence[Verdict]) -> Chart | None:
    """One row a signal, then one a ceiling; None before there are two looks. Every line is in parts of its own threshold.

    Signals that no conversation had are told in the note and not drawn.
    """
    seen = sorted((one for one in verdicts if one.readings), key=lambda one: one.at)
    if len(seen) < 2 or seen[0].at == seen[-1].at:
        return None
    shown = thinned(seen)
    times = Scale(low=shown[0].at, high=shown[-1].at, margin=0.5)
    latest: dict[tuple[str, str], Reading] = {(one.signal, one.detector): one for one in shown[-1].readings}
    compared = [one for one in shown[-1].readings if one.detector == "launch"]
    signals: list[LiveSignal] = [one.signal for one in compared if one.candidate[0] or one.baseline[0]]
    quiet = [NAMES[one.signal] for one in compared if one.signal not in signals]
    rows = [
        Row(
            label=NAMES[signal].capitalize() + (", against the ceiling" if prefix else ""),
            value=numbers(latest[signal, f"{prefix}launch"], latest[signal, f"{prefix}change"]),
            track=joined(list(track(shown, times, signal, prefix))),
            height=HEIGHT,
        )
        for prefix in ("", "floor_")
        for signal in signals
        if (signal, f"{prefix}launch") in latest
    ]
    rows.append(Row(label="", value="", track=clock(times), height=18))
    return Chart(
        title="Evidence against the quantized model",
        note="Logarithm of each e-value as a part of its threshold (dashed), at which the quantized model is taken back; at the solid line there is "
        "no evidence either way, below it evidence that nothing is wrong. Rates are shares of conversations since the release, "
        "of the quantized model against full precision."
        + (f" No conversation had: {', '.join(quiet)}." if quiet else ""),
        rows=tuple(rows),
        legend=LEGEND,
        wide=len(rows) > ONE_COLUMN,
    )


def thinned(verdicts: list[Verdict]) -> list[Verdict]:
    """At most `POINTS` of them, the first and the last among them."""
    step = max(1, -(-len(verdicts) // POINTS))
    return [*verdicts[:-1:step], verdicts[-1]]


def numbers(launch: Reading, change: Reading) -> str:
    """The rates since the release, and the detector that is nearer to its threshold."""
    nearer = max((launch, change), key=lambda one: one.log_e / one.log_threshold)
    against = "" if launch.detector == "floor_launch" else f" against {rate(launch.baseline)}"
    return f"{rate(launch.candidate)}{against} · evidence {evidence(nearer.log_e)} of {evidence(nearer.log_threshold)}"


def rate(counted: tuple[int, int]) -> str:
    events, conversations = counted
    return f"{100 * events / conversations:.2g} %" if conversations else "none"


def track(verdicts: Sequence[Verdict], times: Scale, signal: str, prefix: str) -> Iterator[Markup]:
    yield line(0, 100, ZERO, ZERO, "grid")
    yield line(0, 100, TOP, TOP, "limit")
    for kind, tone in LINES:
        points = [
            (times.at(verdict.at), height(reading))
            for verdict in verdicts
            for reading in verdict.readings
            if (reading.signal, reading.detector) == (signal, prefix + kind)
        ]
        yield path(points, HEIGHT, f"whisker {tone}")
        if points and points[-1][1] <= TOP:
            yield dot(points[-1][0], points[-1][1], "bad")


def height(reading: Reading) -> float:
    part = min(1.08, max(LOWEST, reading.log_e / reading.log_threshold))
    return round(ZERO - (ZERO - TOP) * part, 1)


def clock(times: Scale) -> Markup:
    ends = [datetime.fromtimestamp(at, UTC).strftime("%d %b %H:%M") for at in (times.low, times.high)]
    return joined([words(0, 12, ends[0] + " UTC", "tick start"), words(100, 12, ends[1], "tick end")])
