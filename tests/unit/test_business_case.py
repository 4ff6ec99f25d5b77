"""What training would be worth: the arithmetic by hand, and what holds for any numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantplay.plan import BusinessCase
from quantplay.plays.business_case import arithmetic

CASE = BusinessCase(
    requests_per_day=200_000, tokens_per_request=400, serving_cost_per_million_tokens=0.60, serving_saving_percent=40,
    worth_per_gib_month=3, worth_per_point_month=150, training_cost=4000, months=12,
)  # fmt: skip


def test_by_hand() -> None:
    """200,000 x 400 x 30 = 2,400 million tokens, 1,440 USD a month, 40 % of it 576; 12 months of that less 4,000."""
    before = arithmetic(CASE)
    assert [round(line.value, 6) for line in before.lines] == [2400, 1440, 576, 576, 2912]
    assert before.payback_months == pytest.approx(4000 / 576)
    after = arithmetic(CASE, gib_freed=10, points_won=2)
    assert after.a_month == pytest.approx(576 + 30 + 300)
    assert after.net == pytest.approx(12 * 906 - 4000)
    assert "pays for itself" in after.verdict


def test_nothing_won_is_said() -> None:
    nothing = arithmetic(CASE.model_copy(update={"serving_saving_percent": 0.0}))
    assert (nothing.pays, nothing.payback_months) == (False, None)
    assert nothing.verdict == "by these numbers training wins nothing"


@given(
    saving=st.floats(0, 100), gib=st.floats(0, 1e4), points=st.floats(0, 100), months=st.floats(0.1, 120),
    cost=st.floats(0, 1e7),
)  # fmt: skip
def test_it_pays_when_it_is_paid_back_in_time(
    saving: float, gib: float, points: float, months: float, cost: float
) -> None:
    case = CASE.model_copy(update={"serving_saving_percent": saving, "months": months, "training_cost": cost})
    found = arithmetic(case, gib, points)
    assert found.lines[-1].value == found.net
    more = arithmetic(case, gib + 1, points)
    assert more.net >= found.net
    if found.payback_months is not None and abs(found.net) > 1e-6 * (cost + 1):
        assert found.pays == (found.payback_months < months)


def test_a_gain_too_small_to_divide_by_is_none() -> None:
    assert arithmetic(CASE.model_copy(update={"serving_saving_percent": 1e-310})).payback_months is None
