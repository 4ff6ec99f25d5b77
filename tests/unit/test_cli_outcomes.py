"""The outcome table in the documentation is the data."""

import re
from pathlib import Path

from quantplay.outcomes import OUTCOMES, outcome_of_exit_code

PAGE = Path(__file__).parents[2] / "docs" / "outcomes.md"


def test_exit_codes_are_distinct_and_leave_room_for_the_shell():
    codes = [outcome.exit_code for outcome in OUTCOMES.values()]
    assert len(set(codes)) == len(codes)
    assert all(0 <= code < 126 or code == 130 for code in codes)  # 130: what a shell gives for Ctrl-C
    assert all(outcome_of_exit_code(outcome.exit_code) == name for name, outcome in OUTCOMES.items())
    assert outcome_of_exit_code(1000) is None


def test_only_locked_is_zero_and_good():
    assert [name for name, outcome in OUTCOMES.items() if outcome.exit_code == 0] == ["locked"]
    assert [name for name, outcome in OUTCOMES.items() if outcome.good] == ["locked"]


def test_the_page_is_the_table():
    rows = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"\d+", cells[2] if len(cells) == 4 else ""):
            rows.append(tuple(cells))
    expected = [
        (
            outcome.title,
            outcome.when,
            str(outcome.exit_code),
            outcome.state_name if outcome.state != "COMPLETED" else f"Completed, named {outcome.state_name}",
        )
        for outcome in OUTCOMES.values()
    ]
    assert rows == expected
