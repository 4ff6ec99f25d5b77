"""Facts for adoption: packages as they stand, rows of volume, runs; and strategies that draw them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from quantplay.adoption.facts import Facts, Package, Served, Volume, WentWrong
from quantplay.plan import BusinessCase
from quantplay.plays.regressions import Seen
from quantplay.store.jobs import Job
from quantplay.store.volume import Tried

NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
SINCE = date(2026, 10, 24)
MODELS = tuple(letter * 64 for letter in "abcd")


def package(number: int = 1, **told: Any) -> Package:
    return Package(**{
        "key": f"{number:064x}", "name": f"plan-{number}", "model": MODELS[0], "type": "Q4_K_M", "locked_on": date(2026, 9, 1),
        "status": "confirmed", "why": "Measured when it was locked.", "incident": None, "case": None, "trained": False,
        "freed_bytes": 3 << 30, **told,
    })  # fmt: skip


CONFIRMED, STALE, BROKEN, OPEN = (
    package(1),
    package(2, model=MODELS[1], status="stale", why="Not measured again for more than 90 days."),
    package(3, model=MODELS[2], status="regressed", why="A bound is broken."),
    package(4, model=MODELS[3], incident="1f2e3d4c-aaaa"),
)
PACKAGES = {one.key: one for one in (CONFIRMED, STALE, BROKEN, OPEN)}


def row(name: str = "desk", *, arm: str = "quantized", requests: int = 100, **told: Any) -> Served:
    values = {"model": MODELS[0], "day": date(2026, 11, 1), "tokens": None, **told}
    return Served(name=name, arm=arm, requests=requests, **values)  # type: ignore[arg-type]


def facts(*rows: Served, **told: Any) -> Facts:
    volume = Volume(
        kind="csv", source="usage.csv", since=SINCE, until=NOW, rows=rows, ever=told.pop("ever", rows), ever_since=SINCE,
        all_tokens=told.pop("all_tokens", True),
    )  # fmt: skip
    return Facts(now=NOW, volume=volume, **{"packages": PACKAGES, "tried": (), "went_wrong": wrong(), **told})


def wrong(gate: int = 0, revalidation: int = 0, production: int = 0, still: int = 0) -> WentWrong:
    seen: dict[Seen, int] = {"gate": gate, "revalidation": revalidation, "production": production}
    return WentWrong(seen_first=seen, of_period=seen, incidents_open=still, incidents_closed=2)


def run(number: int = 1, **told: Any) -> Tried:
    started = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=number)
    return Tried(**{
        "run": f"{number:08}-0000-0000-0000-000000000000", "name": f"plan-{number}", "source": "model", "model": MODELS[0],
        "state": "finished", "outcome": "locked", "left_at": "ptq", "package": f"{number:064x}", "started_at": started,
        "finished_at": started + timedelta(hours=3), "wrong_moves": (), **told,
    })  # fmt: skip


def case(**told: Any) -> BusinessCase:
    return BusinessCase.model_validate({
        "requests_per_day": 1000, "tokens_per_request": 500, "serving_cost_per_million_tokens": 2, "serving_saving_percent": 40,
        "training_cost": 900, "months": 12, **told,
    })  # fmt: skip


def job(hours: float, *, play: str = "ptq", outcome: str | None = "done", started: datetime = NOW) -> Job:
    from uuid import uuid4

    end = None if outcome is None else started + timedelta(hours=hours)
    return Job(
        id=uuid4(), run=None, play=play, host="h", device="cpu", started_at=started, finished_at=end, outcome=outcome
    )  # type: ignore[arg-type]


@st.composite
def served(draw: st.DrawFn) -> Served:
    """Any row: some arm, some package or none, tokens known or not."""
    arm = draw(st.sampled_from(["quantized", "quantized", "full_precision", "untold"]))
    chosen = draw(st.sampled_from([None, *PACKAGES.values()])) if arm == "quantized" else None
    model = chosen.model if chosen else draw(st.sampled_from([None, *MODELS]))
    return Served(
        name=draw(st.sampled_from(["desk", "chat", "search"])), model=model, arm=arm, package=chosen.key if chosen else None,
        taken_back=arm == "quantized" and draw(st.booleans()) and draw(st.booleans()),
        day=draw(st.dates(date(2026, 8, 20), date(2026, 11, 22))), requests=draw(st.integers(1, 10**6)),
        tokens=draw(st.none() | st.integers(0, 10**9)),
    )  # fmt: skip


VOLUMES = st.lists(served(), max_size=25)
