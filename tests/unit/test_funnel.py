"""The funnel: every model leaves once, whoever counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantplay.plays.funnel import FIRST_PLAYS, STAGES, Passage, funnel, left_words

PATHS = (
    ("envelope",),
    ("envelope", "ptq"),
    ("envelope", "ptq", "mixed_precision"),
    ("envelope", "ptq", "training"),
    tuple(STAGES),
)
"""A broken candidate passes mixed precision over."""


@st.composite
def passages(draw: st.DrawFn) -> list[Passage]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        path = draw(st.sampled_from(PATHS))
        left = draw(st.booleans())
        found.append(
            Passage(
                run=str(number), model=draw(st.sampled_from("abc")),
                plays=frozenset(play for stage in path for play in FIRST_PLAYS[stage]),  # type: ignore[index]
                left_at=path[-1] if left else None,  # type: ignore[arg-type]
                outcome=draw(st.sampled_from(["locked", "close", "broken"])) if left else None,
            )
        )  # fmt: skip
    return found


@given(passages())
def test_every_run_is_in_one_place_and_every_model_that_left_left_once(some: list[Passage]) -> None:
    rows = funnel(some)
    assert sum(sum(row.runs_left.values()) + row.runs_under_way for row in rows) == len(some)
    assert sum(sum(row.models_left.values()) for row in rows) == len({one.model for one in some if one.left_at})
    assert rows[0].runs_entered == len(some)  # every run measures a baseline
    for row in rows:
        assert sum(row.runs_left.values()) + row.runs_under_way <= row.runs_entered
        assert row.models_entered <= row.runs_entered


def test_a_model_counts_by_its_newest_run() -> None:
    plays = frozenset({"baseline", "ptq"})
    first = Passage(run="1", model="m", plays=plays, left_at="ptq", outcome="close")
    second = Passage(run="2", model="m", plays=plays | {"mix"}, left_at="mixed_precision", outcome="locked")
    rows = {row.stage: row for row in funnel([first, second])}
    assert rows["ptq"].runs_left == {"close": 1}
    assert rows["ptq"].models_left == {}
    assert rows["mixed_precision"].models_left == {"locked": 1}
    assert (rows["ptq"].runs_entered, rows["ptq"].models_entered) == (2, 1)
    assert left_words("ptq") == "plays 3 and 4, post-training quantization"
