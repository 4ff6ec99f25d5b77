"""Play 8: the quantized model beside full precision, judged all the time.

Pure, with no clock, no database and no network:

rules.py      what the judge goes by: the plan's rollback rules, the speed ratio of the package, the error budget a detector
policy.py     what is in force: revision, share of traffic, ramp, kill switch
counts.py     cumulative counters in, what happened between two looks out
speed.py      live decode speed against the ratio of the package, as one more signal
detectors.py  the vectorised core: counts of many months at once in, e-processes and alarms out
promotion.py  evidence that no signal is worse than the margin; does the split of traffic hold
accumulate.py the state before and new counts in, the state after out
state.py      what the judge remembers, as canonical JSON, and what it says
judge.py      the rules in their order: judge(rules, policy, history, state, now) -> Verdict
readings.py   each detector as it stands
words.py      the same in words
chart.py      each signal's evidence over time with its threshold

On the product database, or on files:
release_check.py  may a package serve; offline
release.py        from a package to a policy in force, and back
tick.py           one look of the judge: read counts, judge, act, remember
drift/            is traffic still what the package was calibrated for; once a day
gateway/          the address clients ask, in front of both arms
platform/         the platform's own gateway instead: HTTPRoutes out, Envoy's counters in
"""

from quantplay.live.chart import evidence_chart
from quantplay.live.counts import ArmCounts, Snapshot
from quantplay.live.judge import judge
from quantplay.live.policy import Policy
from quantplay.live.rules import LiveRules, live_rules
from quantplay.live.state import JudgeState, Reading, RolledBack, Verdict

__all__ = [
    "ArmCounts",
    "JudgeState",
    "LiveRules",
    "Policy",
    "Reading",
    "RolledBack",
    "Snapshot",
    "Verdict",
    "evidence_chart",
    "judge",
    "live_rules",
]
