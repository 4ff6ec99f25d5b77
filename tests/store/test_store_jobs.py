"""Uses of devices: who held which one how long, and what is said of a job whose process was gone."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
import store_samples as samples

from quantplay.store import tables
from quantplay.store.jobs import hours_by_play
from quantplay.store.registry import Store


def new_run(store: Store) -> UUID:
    return store.start_run(plan=store.put_plan(samples.plan()), profile="internal")


def started(store: Store, run: UUID | None, play: str = "ptq", host: str = "rack-1", device: str = "GPU-1") -> UUID:
    return store.start_job(run=run, play=play, host=host, device=device)


def outcomes(store: Store) -> list[str | None]:
    return [job.outcome for job in store.list_jobs()]


def earlier(store: Store, job: UUID, seconds: float) -> None:
    """Move the start of a job back."""
    table = tables.jobs
    with store.engine.begin() as connection:
        moved = table.c.started_at - timedelta(seconds=seconds)
        connection.execute(sa.update(table).where(table.c.id == job).values(started_at=moved))


def test_device_hours_of_each_play_are_the_time_its_jobs_held_a_device(store: Store) -> None:
    run = new_run(store)
    for play, seconds, outcome in (("baseline", 7200, "done"), ("ptq", 900, "failed"), ("ptq", 1800, "done")):
        job = started(store, run, play)
        earlier(store, job, seconds)
        store.finish_job(job, outcome)  # type: ignore[arg-type]
    assert hours_by_play(store.list_jobs(run)) == pytest.approx({"baseline": 2.0, "ptq": 0.75}, abs=0.01)
    assert store.list_jobs(new_run(store)) == ()


def test_a_job_found_open_by_the_next_holder_of_the_device_was_lost(store: Store) -> None:
    run = new_run(store)
    first, elsewhere = started(store, run), started(store, run, device="GPU-2")
    earlier(store, first, 86_400)
    second = started(store, None, play="evaluate", host="a container that sees the same GPU")
    found = {job.id: job for job in store.list_jobs()}
    assert (found[first].outcome, found[elsewhere].outcome, found[second].outcome) == ("lost", None, None)
    assert found[first].hours == 0, "nobody knows when its process ended"
    assert found[second].run is None


def test_the_processors_of_two_hosts_are_two_devices(store: Store) -> None:
    started(store, None, host="a", device="cpu")
    started(store, None, host="b", device="cpu")
    assert outcomes(store) == [None, None]
    started(store, None, host="a", device="cpu")
    assert sorted(map(str, outcomes(store))) == ["None", "None", "lost"]


def test_the_first_word_about_a_job_stays_unless_it_was_a_guess(store: Store) -> None:
    job = started(store, None)
    store.finish_job(job, "done")
    store.finish_job(job, "failed")
    assert outcomes(store) == ["done"]
    slow = started(store, None)
    started(store, None)
    store.finish_job(slow, "done")  # it was alive after all
    assert outcomes(store) == ["done", "done", None]
