"""Workers say what they have; those that went away are not sent anything."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
import store_samples as samples

from quantplay.records import Hardware
from quantplay.store import tables
from quantplay.store.registry import Store

HARDWARE = Hardware(
    cpu="EPYC 9", cpu_features=samples.digest("avx"), cores=8, memory_bytes=2**40, accelerators=("H100",)
)


def declare(store: Store, name: str, pool: str = "gpu", hardware: Hardware = HARDWARE) -> None:
    store.declare_worker(name=name, pool=pool, host="rack-1", device=f"GPU-{name}", hardware=hardware, chip="H100")


def silent_for(store: Store, name: str, seconds: float) -> None:
    """Let time pass for one worker."""
    table = tables.workers
    with store.engine.begin() as connection:
        earlier = table.c.seen_at - timedelta(seconds=seconds)
        connection.execute(sa.update(table).where(table.c.name == name).values(seen_at=earlier))


def names(store: Store, pool: str | None = None, alive_seconds: float | None = 120) -> list[str]:
    return [worker.name for worker in store.list_workers(pool, alive_seconds)]


def test_what_a_worker_declares_is_what_is_read_back(store: Store) -> None:
    declare(store, "one")
    (worker,) = store.list_workers()
    assert (worker.name, worker.pool, worker.host, worker.device, worker.chip) == (
        "one",
        "gpu",
        "rack-1",
        "GPU-one",
        "H100",
    )
    assert worker.hardware == HARDWARE
    assert worker.hardware.digest() == HARDWARE.digest()
    assert worker.stopped_at is None
    assert worker.started_at <= worker.seen_at


def test_only_living_workers_of_the_pool_are_listed(store: Store) -> None:
    for name, pool in (("a", "gpu"), ("b", "gpu"), ("c", "cpu"), ("gone", "gpu")):
        declare(store, name, pool)
    assert names(store) == ["c", "a", "b", "gone"]
    silent_for(store, "gone", 121)
    store.worker_stopped("b")
    assert names(store, "gpu") == ["a"]
    assert names(store, "gpu", alive_seconds=600) == ["a", "gone"]
    assert names(store, alive_seconds=None) == ["c", "a", "b", "gone"]


def test_a_worker_that_comes_back_is_the_same_one_with_what_it_has_now(store: Store) -> None:
    declare(store, "one")
    store.worker_stopped("one")
    more = HARDWARE.model_copy(update={"cores": 16})
    declare(store, "one", hardware=more)
    (worker,) = store.list_workers()
    assert worker.hardware == more
    silent_for(store, "one", 500)
    assert store.worker_seen("one")
    assert names(store) == ["one"]
    assert not store.worker_seen("never declared")
