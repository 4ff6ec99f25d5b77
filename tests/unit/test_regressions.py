"""Regressions are counted once, where they were seen first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from factories import digest
from hypothesis import given
from hypothesis import strategies as st

from quantplay.plays.regressions import LIVE, counted, regressions
from quantplay.store.regressions import Refused, TakenBack, WentWrong

START = datetime(2026, 11, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def refused(verdict: str = "close", *, locked: bool = False, name: str = "q2") -> Refused:
    return Refused(
        artifact=digest(name), decision=digest("d"), verdict=verdict, name="desk", run="r", at=day(0), locked=locked
    )


def incident(
    kind: str = "regression", opened: float = 1, closed: float | None = None, *served: str, package: str = "p"
) -> WentWrong:
    return WentWrong(
        id=f"{package} {opened}", kind=kind, package=digest(package), name="desk", what="It got worse.", opened_at=day(opened),
        closed_at=day(closed) if closed is not None else None, served_at=served,
    )  # fmt: skip


TAKEN = TakenBack(endpoint="chat", revision=1, version=3, artifact=digest("file"), reason="Errors rose.", at=day(2))


@pytest.mark.parametrize(
    ("gate", "incidents", "expected"),
    [
        ((), (), (0, 0, 0)),
        ((refused(), refused("broken", name="q3"), refused("rejected", name="q4")), (), (3, 0, 0)),
        ((refused(locked=True),), (), (0, 0, 0)),
        ((), (incident(),), (0, 1, 0)),
        ((), (incident("regression", 1, None, "chat"),), (0, 0, 1)),
        ((), (incident(LIVE),), (0, 0, 1)),
        ((), (incident(LIVE, 1), incident("regression", 2)), (0, 0, 1)),
        ((), (incident("regression", 1), incident(LIVE, 2)), (0, 0, 1)),
        ((), (incident(LIVE, 1, 2), incident("regression", 3)), (0, 1, 1)),
        ((), (incident(LIVE, 1), incident("regression", 2, package="other")), (0, 1, 1)),
        ((), (incident("regression", 1, 2), incident("regression", 3, None, "chat")), (0, 1, 1)),
    ],
    ids=[
        "nothing", "candidates", "locked in the end", "found while nobody was served", "found while served", "taken back",
        "measured after it was taken back", "found, and released all the same", "closed in between", "of two packages",
        "mended and broken again",
    ],
)  # fmt: skip
def test_where_it_was_seen_first(
    gate: tuple[Refused, ...], incidents: tuple[WentWrong, ...], expected: tuple[int, int, int]
) -> None:
    assert tuple(counted(regressions(gate, incidents, ())).values()) == expected


def test_a_rollback_that_no_incident_tells_of_escaped_too() -> None:
    (one,) = regressions((), (), (TAKEN,))
    assert (one.seen, one.name, one.evidence) == ("production", "chat", "traffic chat, 3")


@given(
    st.lists(
        st.builds(
            lambda kind, opened, lasts, served, package: incident(
                kind, opened, None if lasts is None else opened + lasts, *served, package=package
            ),
            st.sampled_from(["regression", LIVE]), st.integers(0, 30), st.none() | st.integers(0, 9),
            st.sampled_from([(), ("chat",)]), st.sampled_from("pqr"),
        ),
        max_size=8, unique_by=lambda one: one.id,
    )
)  # fmt: skip
def test_the_order_of_the_records_does_not_matter_and_nothing_that_reached_users_is_lost(
    found: list[WentWrong],
) -> None:
    told = regressions((), found, ())
    assert told == regressions((), reversed(found), ())
    assert sorted(one.at for one in told) == [one.at for one in told]
    assert len(told) <= len(found)
    reached = {one.package for one in found if one.kind == LIVE or one.served_at}
    assert {one.subject for one in told if one.seen == "production"} == reached
    assert {one.subject for one in told} == {one.package for one in found}
