"""A run that quantizing would be the wrong move for: it says so, and a recorded reason or a plan that only explores goes on."""

from __future__ import annotations

import pytest

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow
ENOUGH = 500  # MiB, of which full precision takes 64


def test_a_model_that_is_small_enough_is_declined_with_the_reason(playground: Playground) -> None:
    code, run = playground.run(playground.plan("small-enough", envelope__memory_mib=ENOUGH))
    assert (code, run["outcome"]) == (15, "declined")
    assert [play["play"] for play in run["plays"]] == ["calibration", "baseline", "envelope"]
    shown = playground.quantplay("show", run["run"][:8])
    assert "Already small enough" in " ".join(shown.stdout.split())


def test_a_reason_in_the_plan_accepts_it(playground: Playground) -> None:
    reasons = [
        {"rule": "calibration.count", "reason": "Enough to go through every step, and fast."},
        {"rule": "envelope.wrong_move", "reason": "The same file is to run on phones next year."},
    ]
    plan = playground.plan("small-all-the-same", envelope__memory_mib=ENOUGH, deviations=reasons)
    code, run = playground.run(plan)
    assert (code, run["outcome"]) == (0, "locked")
