"""How a locked package stands without being measured again, and that the page of statuses is the table."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from factories import digest, made_fingerprint
from hypothesis import given
from hypothesis import strategies as st
from test_gate_revalidation import LOCKED, again

from quantplay.outcomes import OUTCOMES, STANDINGS
from quantplay.plays.standing import Standing, standing, worst_of
from quantplay.records import Fingerprint, Revalidation, StandingStatus

PAGE = Path(__file__).parents[2] / "docs" / "revalidation.md"
LOCKED_AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
HERE, ELSEWHERE = made_fingerprint(), made_fingerprint(cores=64)


def measured(status: StandingStatus, on: Fingerprint) -> Revalidation:
    return again(LOCKED).model_copy(update={"status": status, "stack": on})


def stands(newest: Revalidation | None, stack: Fingerprint, locked_on: Fingerprint = HERE, days: int = 1) -> Standing:
    return standing(
        package=digest("package"), name="desk", locked_at=LOCKED_AT.isoformat(), locked_on=locked_on,
        newest=(digest("newest"), newest) if newest is not None else None, stack=stack, now=LOCKED_AT + timedelta(days=days),
    )  # fmt: skip


def test_the_lock_itself_stands_on_its_stack_and_on_no_other() -> None:
    assert stands(None, HERE).status == "confirmed"
    other = stands(None, ELSEWHERE)
    assert other.status == "stale"
    assert "processor cores: 2 → 64" in other.why


def test_the_newest_measurement_counts_and_goes_stale_when_the_stack_changes_again() -> None:
    assert stands(measured("confirmed", ELSEWHERE), ELSEWHERE).status == "confirmed"
    assert stands(measured("confirmed", ELSEWHERE), HERE).status == "stale"


def test_what_was_not_measured_for_long_is_not_confirmed() -> None:
    assert stands(None, HERE, days=90).status == "confirmed"
    assert stands(None, HERE, days=91).status == "stale"


def test_a_regression_stays_one_whatever_else_changes() -> None:
    assert stands(measured("regressed", HERE), ELSEWHERE).status == "regressed"


@given(st.lists(st.sampled_from(("confirmed", "stale", "regressed"))))
def test_the_worst_of_several(found: list[StandingStatus]) -> None:
    worst = worst_of(found)
    assert all(list(STANDINGS).index(worst) >= list(STANDINGS).index(one) for one in found)
    assert worst in found or (not found and worst == "confirmed")


def test_the_page_is_the_table() -> None:
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| (confirmed|stale|regressed) \|", line)
    ]
    expected = [
        (name, one.when, str(one.exit_code), f"Completed, named {one.state_name}") for name, one in STANDINGS.items()
    ]
    assert rows == expected


def test_exit_codes_mean_one_thing() -> None:
    codes = [one.exit_code for one in STANDINGS.values() if one.exit_code]
    assert len(set(codes)) == len(codes)
    assert not set(codes) & {one.exit_code for one in OUTCOMES.values()}
