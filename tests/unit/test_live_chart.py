"""The picture of the evidence: what is drawn where, and that it is an image on its own."""

from __future__ import annotations

import re
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


def test_the_signal_that_ends_it_is_the_one_at_its_threshold() -> None:
    verdicts = seen(260, 3.0, from_minute=200)
    assert verdicts[-1].action == "rollback"
    chart = evidence_chart(verdicts)  # those after the rollback have no readings
    assert chart is not None
    assert len(chart.rows) == 6 + 4 + 1
    assert ["bad" in row.track for row in chart.rows] == [row.label == "Escalations" for row in chart.rows]
    for row in chart.rows[:-1]:
        heights = [float(y) for y in re.findall(r'y[12]="([\d.]+)"', row.track)]
        assert min(heights) >= 0
        assert max(heights) <= HEIGHT
        assert len(re.findall("whisker cand", row.track)) <= POINTS
    ended = next(row for row in chart.rows if row.label == "Escalations")
    top = min(float(y) for y in re.findall(r'whisker \w+" [^>]*y2="([\d.]+)"', ended.track))
    assert top <= TOP
    assert ElementTree.fromstring(chart.image()).tag.endswith("svg")


def test_nothing_is_drawn_of_less_than_two_looks() -> None:
    one = seen(1, 1.0)
    assert evidence_chart([]) is None
    assert evidence_chart(one) is None
    assert evidence_chart([*one, *one]) is None
