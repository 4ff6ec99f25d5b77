"""The picture of the evidence: what is drawn where, and that it is an image on its own."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

from live_traffic import POLICY, traffic

from quantplay.live import LiveRules, Verdict, evidence_chart, judge
from quantplay.live.chart import HEIGHT, POINTS, TOP

RULES = LiveRules()


def seen(minutes: int, times: float, from_minute: int = 0) -> list[Verdict]:
    state, verdicts = None, []
    for one in traffic(minutes, times={"escalation": times}, from_minute=from_minute, seed=2):
        verdicts.append(judge(RULES, POLICY, [one], state, one.at))
        state = verdicts[-1].state
    return verdicts


def heights(points: str) -> list[float]:
    return [float(point.split(",")[1]) for point in points.split()]


def test_the_signal_that_ends_it_is_the_one_at_its_threshold() -> None:
    verdicts = seen(260, 3.0, from_minute=200)
    assert verdicts[-1].action == "rollback"
    chart = evidence_chart(verdicts)  # those after the rollback have no readings
    assert chart is not None
    assert len(chart.rows) == 6 + 4 + 1
    assert ["bad" in row.track for row in chart.rows] == [row.label == "Escalations" for row in chart.rows]
    for row in chart.rows[:-1]:
        lines = [heights(points) for points in re.findall(r'<polyline class="whisker \w+" points="([^"]+)"', row.track)]
        assert len(lines) == 2
        for found in lines:
            assert 0 <= min(found) <= max(found) <= HEIGHT
            assert len(found) <= POINTS + 1
        assert (min(map(min, lines)) <= TOP) == (row.label == "Escalations")
    assert ElementTree.fromstring(chart.image()).tag.endswith("svg")


def test_nothing_is_drawn_of_less_than_two_looks() -> None:
    one = seen(1, 1.0)
    assert evidence_chart([]) is None
    assert evidence_chart(one) is None
    assert evidence_chart([*one, *one]) is None


def test_what_nobody_had_is_told_and_not_drawn() -> None:
    state, verdicts = None, []
    for one in traffic(30, seed=2):
        quiet = {name: 0 for name in one.candidate.events if name != "thumbs_down"}
        arms = {
            name: replace(arm, events={**arm.events, **quiet})
            for name, arm in {"candidate": one.candidate, "baseline": one.baseline}.items()
        }
        verdicts.append(judge(RULES, POLICY, [replace(one, **arms)], state, one.at))
        state = verdicts[-1].state
    chart = evidence_chart(verdicts)
    assert chart is not None
    assert [row.label for row in chart.rows] == ["Thumbs-down", "Thumbs-down, against the ceiling", ""]
    assert "No conversation had: errors, escalations, downstream errors, slow first tokens" in chart.note
