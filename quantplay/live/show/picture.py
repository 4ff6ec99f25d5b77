"""The show in one picture: share of traffic, the rate of the signal that told, its evidence against the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.engines.whole_file import written_whole
from quantplay.live.show.story import Mark, Moment, Story, reading_of
from quantplay.live.state import Reading
from quantplay.live.words import NAMES
from quantplay.records.traffic import ServedBy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES, DPI = (11, 9.4), 130
WINDOW_SECONDS, LEAST = 9, 30  # a rate is over so long, and over so many conversations at least
BLUE, GREY, RED, GREEN, INK, SOFT, GRID = "#3557d6", "#8a94a6", "#bf3030", "#17785a", "#1d2129", "#5c6470", "#eceae3"
TONES = {"release": INK, "promotion": GREEN, "swap": RED, "rollback": BLUE}
ARMS: tuple[tuple[ServedBy, str, str], ...] = (
    ("quantized", "quantized", BLUE),
    ("full_precision", "full precision", GREY),
)


def draw(story: Story, told: Reading, title: str, target: Path) -> None:
    """Write the PNG `target`, whole or not at all. `told`: the detector that decided, or came nearest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    panels: Sequence[Axes] = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": [1, 1.15, 1.15]})
    figure.subplots_adjust(left=0.065, right=0.975, top=0.82, bottom=0.07, hspace=0.3)
    head, *rest = title.split("\n")
    figure.text(0.065, 0.975, head, fontsize=15, fontweight="bold", color=INK, va="top")
    figure.text(0.065, 0.94, "\n".join(rest), fontsize=11.5, color=SOFT, va="top")
    zero = story.marks[0].at
    share_panel(panels[0], story, zero)
    rate_panel(panels[1], story, told, zero)
    evidence_panel(panels[2], story, told, zero)
    for panel in panels:
        framed(panel)
        for mark in story.marks:
            panel.axvline(
                mark.at - zero, color=TONES[mark.kind], lw=1.2, ls="-" if mark.kind in ("swap", "rollback") else ":", zorder=1
            )  # fmt: skip
    labelled(panels[0], story.marks, zero, story.moments[-1].at - zero)
    panels[-1].set_xlabel("seconds since the release", color=SOFT)
    panels[-1].set_xlim(0, story.moments[-1].at - zero)
    with written_whole(target) as partial:
        figure.savefig(partial, format="png")


def framed(panel: Axes) -> None:
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color(GRID)
    panel.tick_params(colors=SOFT, length=0, labelsize=9)
    panel.grid(axis="y", color=GRID, lw=0.8)
    panel.set_axisbelow(True)


def headed(panel: Axes, text: str) -> None:
    panel.set_title(text, loc="left", fontsize=11, color=INK, pad=8)


def labelled(panel: Axes, marks: Sequence[Mark], zero: float, end: float) -> None:
    """Words above the panel, in two rows where they would meet."""
    row, last = 0, -math.inf
    for mark in marks:
        x = mark.at - zero
        row = 1 - row if x - last < 0.22 * end else 0
        last = x
        right = x > 0.8 * end
        panel.annotate(
            mark.words, (x, 1), xycoords=("data", "axes fraction"), xytext=(-4 if right else 4, 26 + 15 * row),
            textcoords="offset points", ha="right" if right else "left", fontsize=9.5, color=TONES[mark.kind], fontweight="bold",
            arrowprops=None,
        )  # fmt: skip


def share_panel(panel: Axes, story: Story, zero: float) -> None:
    headed(panel, "Share of conversations that the quantized model gets, in %")
    times = [0.0, *(m.at - zero for m in story.moments)]
    shares = [100 * share for share in (story.moments[0].share, *(m.share for m in story.moments))]
    panel.fill_between(times, shares, step="post", color=BLUE, alpha=0.14, lw=0)
    panel.step(times, shares, where="post", color=BLUE, lw=2)
    panel.set_ylim(0, 1.15 * max(shares))


def rate_panel(panel: Axes, story: Story, told: Reading, zero: float) -> None:
    headed(panel, f"Conversations with {NAMES[told.signal]}, in % (of the last {WINDOW_SECONDS} s or more)")
    for arm, name, tone in ARMS:
        points = rates(story.moments, arm, told.signal)
        if points:
            panel.plot(
                [at - zero for at, _ in points], [100 * rate for _, rate in points], color=tone, lw=2, label=name
            )
    panel.set_ylim(bottom=-0.03 * panel.get_ylim()[1])  # a line at zero is seen
    panel.legend(loc="upper left", frameon=False, fontsize=9.5, labelcolor=INK)


def rates(moments: Sequence[Moment], arm: ServedBy, signal: str) -> list[tuple[float, float]]:
    """(time, share of conversations with the signal), each over `WINDOW_SECONDS` and `LEAST` conversations at least."""
    found = []
    for place, now in enumerate(moments):
        for then in reversed(moments[:place]):
            asked = now.count(arm, "conversations") - then.count(arm, "conversations")
            if now.at - then.at >= WINDOW_SECONDS and asked >= LEAST:
                if now.count(arm, "conversations") > moments[place - 1].count(arm, "conversations"):
                    found.append((now.at, (now.count(arm, signal) - then.count(arm, signal)) / asked))
                break
    return found


def evidence_panel(panel: Axes, story: Story, told: Reading, zero: float) -> None:
    headed(panel, f"Evidence (e-value) that {NAMES[told.signal]} are worse on the quantized model than is tolerated")
    power = math.log(10)
    points = [
        (moment.at - zero, reading.log_e / power)
        for moment in story.moments
        if moment.verdict is not None
        and (reading := reading_of(moment.verdict, told.signal, told.detector)) is not None
    ]
    threshold = told.log_threshold / power
    panel.axhline(0, color=SOFT, lw=0.8)
    panel.axhline(threshold, color=RED, lw=1.4, ls="--")
    panel.annotate(
        f"threshold {10**threshold:,.0f}: taken back", (0, threshold), xytext=(6, 4), textcoords="offset points", fontsize=9.5, color=RED,
    )  # fmt: skip
    panel.annotate(
        "1: no evidence either way", (0, 0), xytext=(6, 4), textcoords="offset points", fontsize=9, color=SOFT
    )
    panel.plot([at for at, _ in points], [level for _, level in points], color=BLUE, lw=2, marker="o", ms=3)
    lowest = min([0.0, *(level for _, level in points)])
    highest = max([threshold, *(level for _, level in points)])
    panel.set_ylim(min(-0.6, lowest - 0.3), highest + 0.8)
    panel.yaxis.set_major_formatter(lambda value, _: f"$10^{{{value:g}}}$" if value == int(value) else "")
