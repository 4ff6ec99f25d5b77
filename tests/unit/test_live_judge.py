"""The live judge on counters as a gateway keeps them: order of its rules, latch, memory, and what it refuses."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_traffic import POLICY, START, snapshot, traffic

from quantplay.digest import canonical_json
from quantplay.errors import InputError, IntegrityError
from quantplay.live import JudgeState, LiveRules, Policy, Snapshot, Verdict, judge
from quantplay.records import RollbackRules, Signal
from quantplay.records.rollback_rules import SIGNALS

RULES = LiveRules()
GOOD = traffic(600)


def told(history: list[Snapshot], *, rules: LiveRules = RULES, policy: Policy = POLICY, state: JudgeState | None = None,
         late: int = 0) -> Verdict:  # fmt: skip
    return judge(rules, policy, history, state, history[-1].at + late)


def walked(history: list[Snapshot], *, rules: LiveRules = RULES, policy: Policy = POLICY) -> Verdict:
    """Asked after every snapshot, the state written down and read again in between; to the end or the first rollback."""
    state, verdict = None, None
    for one in history:
        verdict = judge(rules, policy, [one], state, one.at)
        state = JudgeState.model_validate_json(canonical_json(verdict.state.body()))
        if verdict.action == "rollback":
            break
    assert verdict is not None
    return verdict


def test_a_good_model_goes_on() -> None:
    verdict = told(GOOD)
    assert (verdict.action, verdict.cause, verdict.state.rolled_back) == ("continue", "waiting", None)
    assert len(verdict.readings) == 20


@settings(deadline=None, max_examples=12)
@given(st.data(), st.sampled_from([1.0, 1.6, 4.0]))
def test_the_same_counts_end_in_the_same_state_however_often_it_is_asked(data: st.DataObject, times: float) -> None:
    history = traffic(200, times={"thumbs_down": times}, from_minute=60, seed=4)
    cuts = sorted(data.draw(st.sets(st.integers(1, 199), max_size=12)) | {200})
    state, verdict, begin = None, None, 0
    for cut in cuts:
        seen = history[max(0, begin - 3) : cut]  # some of them twice
        verdict = judge(RULES, POLICY, data.draw(st.permutations(seen)), state, history[cut - 1].at)
        state, begin = JudgeState.model_validate_json(json.dumps(verdict.state.body())), cut
        if verdict.action == "rollback":
            break
    once = told(history)
    assert verdict is not None
    if once.action == "rollback":
        assert (verdict.action, verdict.at, verdict.reasons) == (once.action, once.at, once.reasons)
    assert verdict.state == once.state  # bit by bit
    assert verdict.state.digest() == once.state.digest()


@pytest.mark.parametrize("signal", SIGNALS)
def test_every_signal_takes_the_model_back_with_the_numbers(signal: Signal) -> None:
    history = traffic(600, times={signal: 5.0}, seed=1, rates=(0.004, 0.02, 0.02, 0.01, 0.02, 0.004))
    verdict = walked(history)
    assert (verdict.action, verdict.cause) == ("rollback", "worse")
    counts = next(one for one in history if one.at == verdict.at)
    reason = verdict.reasons[0]
    shown = [int(found.replace(",", "")) for found in re.findall(r"[\d,]+(?= of| conv| on full)", reason)]
    assert shown == [
        counts.candidate.events[signal], counts.candidate.conversations, counts.baseline.events[signal], counts.baseline.conversations
    ]  # fmt: skip
    evidence, threshold = re.search(r"Evidence ([\d,]+), threshold ([\d,]+)", reason).groups()  # type: ignore[union-attr]
    assert int(evidence.replace(",", "")) >= int(threshold.replace(",", "")) == round(1 / RULES.alpha)


def test_a_change_after_days_is_found_and_told_by_what_happened_lately() -> None:
    history = traffic(1500, times={"escalation": 2.0}, from_minute=1200, seed=2)
    verdict = told(history)
    assert (verdict.action, verdict.cause) == ("rollback", "worse")
    assert START + 1200 * 60 < verdict.at < START + 1320 * 60
    assert "lately" in verdict.reasons[0]
    recent = int(re.search(r"of ([\d,]+) conversations", verdict.reasons[0]).group(1).replace(",", ""))  # type: ignore[union-attr]
    assert recent < 600 * 0.1 * 600  # not the whole 20 hours


def test_better_on_the_quantized_model_is_never_a_reason() -> None:
    assert told(traffic(600, times=dict.fromkeys(SIGNALS, 0.2), seed=3)).action != "rollback"


def test_a_rollback_is_latched_until_a_new_revision() -> None:
    bad = walked(traffic(100, times={"error": 10.0}))
    again = judge(RULES, POLICY, GOOD, bad.state, GOOD[-1].at)
    assert (again.action, again.reasons, again.state) == ("rollback", bad.reasons, bad.state)
    following = POLICY.model_copy(update={"revision": 4, "since": GOOD[-1].at})
    anew = judge(RULES, following, [], bad.state, GOOD[-1].at)
    assert anew.action == "continue"
    assert anew.state.rolled_back is None
    with pytest.raises(InputError, match="later revision"):
        judge(RULES, POLICY, [], anew.state, GOOD[-1].at)


def test_the_kill_switch_comes_before_everything() -> None:
    killed = POLICY.model_copy(update={"killed": True})
    verdict = told(traffic(100, times={"error": 40.0}), policy=killed)
    assert (verdict.action, verdict.cause) == ("rollback", "kill_switch")
    assert verdict.state.rolled_back is not None
    assert told(GOOD, state=verdict.state).cause == "kill_switch"  # also when the switch is released


def test_a_ceiling_speaks_before_the_comparison_and_needs_no_baseline_to_be_better() -> None:
    both_bad = traffic(30, rates=(0.3, 0.02, 0.02, 0.01, 0.02, 0.002))
    verdict = told(both_bad)
    assert (verdict.action, verdict.cause) == ("rollback", "floor")
    assert verdict.at == START + 60  # no minimum of conversations
    assert "above the ceiling of 5 %" in verdict.reasons[0]
    worse_too = told(traffic(30, times={"error": 60.0}))
    assert worse_too.cause == "floor"
    assert len(worse_too.reasons) > 1  # the comparison says so as well
    free = LiveRules(limits=RollbackRules(ceilings={}))
    assert told(both_bad, rules=free).action == "continue"


def test_a_ceiling_also_holds_after_ten_good_days() -> None:
    rates = (0.004, 0.02, 0.02, 0.01, 0.02, 0.004)
    history = traffic(700, rates=rates, a_minute=6000)
    last = history[-1]
    totals = [[arm.conversations, *arm.events.values()] for arm in (last.candidate, last.baseline)]
    for minute in range(1, 31):  # both arms fail
        for arm, new in enumerate((600, 5400)):
            totals[arm][0] += new
            totals[arm][1] += new // 5
        history.append(snapshot(last.at + 60 * minute, totals))
    verdict = told(history)
    assert (verdict.action, verdict.cause) == ("rollback", "floor")
    assert verdict.at <= last.at + 120


def test_traffic_that_is_split_otherwise_is_held_and_damage_still_rolls_back() -> None:
    verdict = told(traffic(300, assigned=0.12))
    assert (verdict.action, verdict.cause) == ("hold", "mismatch")
    assert "10 %" in verdict.reasons[0]
    later = judge(RULES, POLICY, [], verdict.state, verdict.state.at + 60)
    assert later.action == "hold"
    assert told(traffic(300, assigned=0.12, times={"error": 4.0})).cause == "worse"
    blind = judge(RULES, POLICY, [], verdict.state, verdict.state.at + 15 * 60)
    assert (blind.action, blind.cause) == ("rollback", "blind")


def test_without_counts_the_ramp_freezes_and_then_the_model_is_taken_back() -> None:
    seen = told(GOOD)
    actions = [judge(RULES, POLICY, [], seen.state, seen.state.at + 60 * minutes).action for minutes in range(17)]
    assert actions == ["continue"] * 3 + ["freeze"] * 12 + ["rollback"] * 2
    verdict = judge(RULES, POLICY, [], seen.state, seen.state.at + 900)
    assert verdict.cause == "blind"
    assert verdict.state.rolled_back is not None
    assert judge(RULES, POLICY, [], None, START + 900).cause == "blind"  # none ever came
    back = judge(RULES, POLICY, [replace(GOOD[-1], at=GOOD[-1].at + 800)], seen.state, GOOD[-1].at + 805)
    assert back.action == "continue"  # quiet traffic is not blindness: counts came


def test_gateways_that_are_there_without_traffic_are_quiet_and_not_blind() -> None:
    last = told(GOOD)
    at = last.state.at

    def after(minutes: int, alive: int | None) -> Verdict:
        return judge(RULES, POLICY, [], last.state, at + 60 * minutes, None if alive is None else at + 60 * alive)

    quiet = after(600, 600)
    assert (quiet.action, quiet.cause) == ("continue", "waiting")
    assert "600 minutes" in quiet.reasons[0]
    assert after(600, 598).cause == "waiting"
    assert (after(600, 597).action, after(600, 597).cause) == ("freeze", "blind")
    assert (after(600, 585).action, after(600, 585).cause) == ("rollback", "blind")
    assert after(15, -100).action == "rollback"  # seen before the last counts only
    assert after(600, 600).state == last.state  # and what is remembered is the same, gateways or not


def test_a_judge_that_slept_is_not_blind() -> None:
    seen = told(GOOD[:10])
    assert judge(RULES, POLICY, GOOD, seen.state, GOOD[-1].at).action == "continue"


def test_promotion_needs_evidence_on_every_signal_and_conversations() -> None:
    history = traffic(2400, rates=(0.02,) * 6, seed=5)
    verdict = told(history)
    assert (verdict.action, verdict.cause, verdict.next_weight) == ("promote", "as_good", 0.25)
    early = told(history[:30])
    assert early.cause == "waiting"
    assert "of 2,000" in early.reasons[0]
    not_sure = told(history[:60])
    assert not_sure.cause == "waiting"
    assert "evidence" in not_sure.reasons[0]
    careful = LiveRules(limits=RollbackRules(min_conversations=10**6))
    assert told(history, rules=careful).action == "continue"
    # One signal at the margin, though not bad enough to be taken back:
    lax = LiveRules(limits=RollbackRules(tolerated_ratio={"escalation": 1.5}))
    rises = told(traffic(2400, rates=(0.02,) * 6, times={"escalation": 1.3}, seed=5), rules=lax)
    assert rises.action == "continue"
    assert "escalations" in rises.reasons[0]


def test_signals_that_hardly_ever_happen_do_not_keep_a_model_back() -> None:
    verdict = told(traffic(2400, rates=(0.0, 0.02, 0.02, 0.02, 0.02, 0.0), seed=5))
    assert verdict.action == "promote"


def test_a_few_events_where_full_precision_has_none_are_negligible() -> None:
    totals = [[60_000, 0, 1200, 0, 0, 0, 30], [540_000, 0, 10_800, 0, 0, 0, 0]]
    verdict = told([snapshot(START + 60, totals)])
    assert verdict.action != "rollback"
    reading = next(one for one in verdict.readings if (one.signal, one.detector) == ("other_arm", "launch"))
    assert reading.log_e > reading.log_threshold  # it is worse, and does not matter
    totals[0][6] = 90
    assert told([snapshot(START + 60, totals)]).action == "rollback"


def test_each_stage_of_the_ramp_is_judged_anew_and_the_holdback_is_the_top() -> None:
    first = told(traffic(2400, rates=(0.02,) * 6, seed=5))
    at, counts = first.state.at, first.state.counts
    wider = POLICY.model_copy(update={"weight": 0.5})
    waiting = judge(RULES, wider, [], first.state, at + 60)
    assert waiting.action == "continue"
    step = [[value + more for value, more in zip(arm, new, strict=True)]
            for arm, new in zip(counts, ([300] + [6] * 6, [300] + [6] * 6), strict=True)]  # fmt: skip
    stage = judge(RULES, wider, [snapshot(at + 60, step, weight=0.5)], first.state, at + 60)
    assert stage.state.stage_conversations == counts[0][0]
    assert "300 of 2,000" in stage.reasons[0]
    assert wider.next_weight(RULES) == 0.95
    top = judge(RULES, POLICY.model_copy(update={"weight": 0.95}), [], first.state, at + 60)
    assert (top.action, top.cause) == ("continue", "at_the_top")
    assert "5 % stay on full precision" in top.reasons[0]
    alone = judge(RULES, POLICY.model_copy(update={"weight": 1.0}), [], first.state, at + 60)
    assert "only the ceilings" in alone.reasons[0]


def test_missing_minutes_are_made_up_for_by_the_next_counts() -> None:
    history = traffic(300, times={"error": 1.4}, seed=8)
    sparse = told(history[4::5])
    assert sparse.state.counts == told(history).state.counts
    for one, other in zip(sparse.readings, told(history).readings, strict=True):
        if one.detector == "launch" and one.log_e > -3:
            assert one.log_e == pytest.approx(other.log_e, abs=0.3)


def test_looks_too_small_to_compare_are_pooled() -> None:
    """Events late by minutes on an endpoint that serves hardly anybody: no look has both."""
    totals, history = [[0] * 7, [0] * 7], []
    for minute in range(1, 301):
        totals[0][0] += 1 if minute % 10 == 0 else 0
        totals[1][0] += 9 if minute % 10 == 5 else 0
        totals[0][2] += minute % 50 == 3
        totals[1][2] += 9 * (minute % 50 == 7)
        history.append(snapshot(START + 60 * minute, totals))
    verdict = told(history)
    assert verdict.action == "continue"
    assert verdict.state.logs == walked(history).state.logs
    reading = next(one for one in verdict.readings if (one.signal, one.detector) == ("thumbs_down", "launch"))
    assert reading.log_e < 1


def event_by_event(
    history: list[Snapshot], signal: Signal, ratios: list[float], tolerated: float
) -> tuple[float, float]:
    """Both e-values of a signal by another route: a gambler an alternative and start, who meets one event after the other."""
    gamblers = [(ratio, 0, [0.0]) for ratio in ratios]
    seen, clock = [0] * 4, START
    for one in history:
        now = [
            one.candidate.conversations,
            one.baseline.conversations,
            one.candidate.events[signal],
            one.baseline.events[signal],
        ]
        n_c, n_b, x_c, x_b = (value - before for value, before in zip(now, seen, strict=True))
        for ratio, _, wealth in gamblers:
            fair, bet = (n_c * r / (n_c * r + n_b) for r in (tolerated, tolerated * ratio))
            for event in [True] * x_c + [False] * x_b:
                wealth[0] += math.log(bet / fair if event else (1 - bet) / (1 - fair))
        if (one.at - START) // 3600 > (clock - START) // 3600:
            gamblers += [(ratio, one.at, [0.0]) for ratio in ratios]
        seen, clock = now, one.at
    launch = [math.exp(wealth[0]) for _, start, wealth in gamblers if start == 0]
    return sum(launch) / len(ratios), sum(math.exp(wealth[0]) for *_, wealth in gamblers) / len(ratios)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_independent_e_process_agrees(seed: int) -> None:
    history = traffic(250, times={"error": 1.3, "escalation": 0.8}, seed=seed)
    verdict = told(history)
    assert verdict.action != "rollback"
    for signal in SIGNALS:
        own = event_by_event(history, signal, [1.2, 1.4, 2.5], 1.05)
        for kind, value in zip(("launch", "change"), own, strict=True):
            reading = next(one for one in verdict.readings if (one.signal, one.detector) == (signal, kind))
            assert reading.log_e == pytest.approx(math.log(value), rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(SIGNALS), st.integers(1, 40), st.integers(1, 58))
def test_one_more_event_on_the_quantized_model_never_helps_it(signal: Signal, more: int, minute: int) -> None:
    history = traffic(60, times=dict.fromkeys(SIGNALS, 1.3), seed=6)
    worse = [
        one if t < minute else replace(
            one, candidate=replace(one.candidate, events={**one.candidate.events, signal: one.candidate.events[signal] + more})
        )
        for t, one in enumerate(history)
    ]  # fmt: skip
    before, after = told(history), told(worse)
    if before.action == "rollback":
        assert after.action == "rollback"
        assert after.at <= before.at
    elif after.action != "rollback":
        for one, other in zip(before.readings, after.readings, strict=True):
            # A sum over alternatives that all fall to nothing may differ in its last bit.
            assert (other.log_e >= one.log_e - 1e-12) if one.signal == signal else (other.log_e == one.log_e)


def broken(history: list[Snapshot]) -> list[Snapshot]:
    less = replace(history[5].candidate, conversations=history[4].candidate.conversations - 1)
    return [*history[:5], replace(history[5], candidate=less)]


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (broken(GOOD[:10]), "went backwards"),
        ([GOOD[0], replace(GOOD[1], revision=2)], "another revision"),
        ([GOOD[0], replace(GOOD[2], at=GOOD[0].at)], "same time"),
        ([replace(GOOD[0], at=GOOD[0].at + 10**6)], "future"),
        ([snapshot(START + 60, [[-1] + [0] * 6, [0] * 7])], "went backwards"),
        ([replace(GOOD[0], candidate=replace(GOOD[0].candidate, events={"nonsense": 3}))], "nobody knows"),
    ],
)  # fmt: skip
def test_counts_that_can_not_be_are_refused(history: list[Snapshot], words: str) -> None:
    with pytest.raises((InputError, IntegrityError), match=words) as caught:
        judge(RULES, POLICY, history, None, GOOD[9].at)
    assert isinstance(caught.value, IntegrityError) == (words in ("went backwards", "same time"))


def test_rules_do_not_change_under_a_running_comparison() -> None:
    state = told(GOOD[:5]).state
    with pytest.raises(IntegrityError, match="rules changed"):
        told(GOOD, rules=LiveRules(limits=RollbackRules(blind_minutes=16)), state=state)
    with pytest.raises(InputError, match="clock"):
        judge(RULES, POLICY, [], state, state.at - 1)


def test_the_error_budget_is_divided_over_everything_that_can_take_a_model_back() -> None:
    assert 2 * RULES.alpha * (len(RULES.relative) + len(RULES.floors)) == pytest.approx(0.01)
    assert len(LiveRules(locked_slowdown=0.6).relative) == 7
    launch, change = (RULES.log_threshold(kind, floor=False) for kind in ("launch", "change"))
    assert math.exp(change - launch) == pytest.approx(720)
    assert RULES.log_threshold("change", floor=True) - change == pytest.approx(math.log(60))
