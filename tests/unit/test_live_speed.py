"""Live decode speed against the ratio of the package, from histograms."""

from __future__ import annotations

import numpy as np
import pytest
from live_traffic import POLICY, START, snapshot

from quantplay.errors import InputError, IntegrityError
from quantplay.live import LiveRules, Snapshot, judge
from quantplay.live.speed import allowed_shift, bucket_of, slow_decode, usual

RULES = LiveRules(locked_slowdown=0.6)  # 1.25 times that is allowed


def served(minutes: int, slowdown: float, *, seed: int = 0, load: float = 0.0) -> list[Snapshot]:
    """Times per token around 30 ms; `slowdown`: quantized over full precision. `load` drags on both more and more."""
    rng, hists, totals, found = np.random.default_rng(seed), ({}, {}), [[0] * 7, [0] * 7], []
    for minute in range(1, minutes + 1):
        for arm, (answers, factor) in enumerate(((60, slowdown), (540, 1.0))):
            for time in rng.lognormal(np.log(30 * factor * (1 + load * minute)), 0.25, answers):
                bucket = bucket_of(float(time))
                hists[arm][bucket] = hists[arm].get(bucket, 0) + 1
            totals[arm][0] += answers
        found.append(snapshot(START + 60 * minute, totals, decode=tuple(dict(arm) for arm in hists)))
    return found


def test_buckets_are_an_eighth_of_a_doubling_wide() -> None:
    assert bucket_of(1.0) == 0
    assert bucket_of(2.0) == 8
    assert bucket_of(2.0001) == 9
    assert allowed_shift(0.5, 1.0) == -8
    assert allowed_shift(0.6, 1.25) == -3  # 0.75 is 2^(-3.3/8): rounded to the lenient side
    with pytest.raises(InputError):
        bucket_of(0.0)


def test_the_usual_speed_waits_for_answers_and_holds_three_quarters() -> None:
    assert usual({3: 199}) is None
    assert usual({1: 100, 3: 100, 8: 50, 9: 50}) == 8
    assert usual({1: 225, 9: 75}) == 1


def test_slow_answers_are_counted_by_what_was_usual_before() -> None:
    history = [
        snapshot(START + 60, [[0] * 7] * 2, decode=({}, {10: 300, 20: 100})),
        snapshot(START + 120, [[0] * 7] * 2, decode=({7: 5, 8: 3}, {10: 330, 20: 110})),
    ]
    counts, stood = slow_decode(({}, {}), history, -3)
    assert counts[0].tolist() == [[0, 8], [0, 40]]
    assert counts[1].tolist() == [[0, 3], [0, 10]]  # usual: bucket 10; the quantized model has to stay within bucket 7
    assert stood == [{7: 5, 8: 3}, {10: 330, 20: 110}]
    with pytest.raises(IntegrityError, match="backwards"):
        slow_decode(stood, history[:1], -3)


def test_a_quiet_fall_back_of_the_engine_is_found_and_promised_speed_is_not() -> None:
    fallen = served(60, 1.0)
    verdict = judge(RULES, POLICY, fallen, None, fallen[-1].at)
    assert (verdict.action, verdict.cause) == ("rollback", "worse")
    assert verdict.at <= START + 20 * 60
    assert "Slow decoding" in verdict.reasons[0]
    for good in (served(120, 0.6, seed=1), served(120, 0.72, seed=2), served(120, 0.6, seed=3, load=0.02)):
        assert judge(RULES, POLICY, good, None, good[-1].at).action != "rollback"
    assert judge(LiveRules(), POLICY, fallen, None, fallen[-1].at).action != "rollback"  # no ratio in the package
