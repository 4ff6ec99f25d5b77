"""The traffic pointer: what the database lets happen, whoever asks, and who wins when two want something at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from quantplay.errors import Conflict, InputError
from quantplay.records.traffic import PolicyRevision, ServedArm, TrafficPolicy
from quantplay.store.registry import Store

NAME = "chat"


def arm(port: int) -> ServedArm:
    return ServedArm(url=f"http://localhost:{port}/v1", model=f"m{port}", artifact=f"{port:x}" * 64)


def revision(store: Store, endpoint: str = NAME) -> int:
    told = PolicyRevision(endpoint=endpoint, package=None, full_precision=arm(1), quantized=arm(2), salt="s")
    return store.add_policy(told, "tester")


def move(store: Store, epoch: int, expected: int | None, **changed: Any) -> int:
    told = {"revision": 1, "state": "canary", "weight": 0.05, "actor": "tester", "reason": "a test"}
    return store.point(NAME, epoch=epoch, expected=expected, **(told | changed))


def now(store: Store) -> TrafficPolicy:
    (found,) = store.traffic_policies(NAME)
    return found


@pytest.fixture
def canary(store: Store) -> Store:
    """Revision 1 is a canary of 5 % under epoch 1 of `one`."""
    revision(store)
    assert move(store, store.take_lease(NAME, "one"), None) == 1
    return store


def test_a_rollback_needs_no_lease_and_is_final_for_its_revision(canary: Store) -> None:
    canary.give_lease(NAME, "one")
    assert canary.roll_back(NAME, actor="on-call", reason="answers are wrong") == 2
    assert canary.roll_back(NAME, actor="on-call", reason="again") is None
    assert (now(canary).state, now(canary).weight, now(canary).quantized) == ("rolled_back", 0, None)
    epoch = canary.take_lease(NAME, "one")
    with pytest.raises(Conflict, match="needs a new revision"):
        move(canary, epoch, 2)
    assert revision(canary) == 2
    assert move(canary, epoch, 2, revision=2) == 3
    with pytest.raises(InputError, match="a higher one only"):
        move(canary, epoch, 3, revision=1)


def test_a_rollback_of_a_revision_that_was_replaced_does_nothing(canary: Store) -> None:
    revision(canary)
    move(canary, 1, 1, revision=2)
    assert canary.roll_back(NAME, actor="judge", reason="late", revision=1) is None
    assert now(canary).share == 0.05


def test_promotion_needs_the_newest_epoch_and_the_version_it_saw(canary: Store) -> None:
    with pytest.raises(Conflict, match="another controller"):
        canary.take_lease(NAME, "two")
    with pytest.raises(Conflict, match="changed meanwhile"):
        move(canary, 1, 7, weight=0.2)
    canary.give_lease(NAME, "one")
    assert canary.take_lease(NAME, "two") == 2
    with pytest.raises(Conflict, match="epoch 2"):
        move(canary, 1, 1, weight=0.2)
    assert canary.take_lease(NAME, "two") == 2  # more time, the same epoch
    assert move(canary, 2, 1, weight=0.2) == 2


def test_a_lease_that_ran_out_moves_nothing(canary: Store) -> None:
    canary.take_lease(NAME, "one", seconds=0)
    with pytest.raises(Conflict, match="epoch none"):
        move(canary, 1, 1, weight=0.2)


def test_the_kill_switch_needs_no_lease_and_only_a_controller_lifts_it(canary: Store) -> None:
    assert canary.switch_off(NAME, actor="on-call", reason="to be safe") == 2
    assert canary.switch_off(NAME, actor="on-call", reason="to be safe") is None
    assert (now(canary).share, now(canary).weight, now(canary).state) == (0, 0.05, "canary")
    assert move(canary, 1, 2) == 3
    assert now(canary).share == 0.05


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM quantplay.traffic_pointer",
        "TRUNCATE quantplay.traffic_pointer",
        "UPDATE quantplay.traffic_pointer SET weight = 0.5",
        "UPDATE quantplay.traffic_pointer SET endpoint = 'other', state = 'rolled_back', weight = 0",
        "UPDATE quantplay.traffic_pointer SET state = 'rolled_back'",
        "UPDATE quantplay.traffic_pointer SET state = 'locked', weight = 0",
        "UPDATE quantplay.traffic_pointer SET kill = true, weight = 1",
        "UPDATE quantplay.policies SET canonical = '{}'",
        "DELETE FROM quantplay.traffic_changes",
    ],
)
def test_the_database_refuses_what_no_program_may_do(canary: Store, statement: str) -> None:
    canary.give_lease(NAME, "one")
    before = now(canary)
    with pytest.raises(sa.exc.DBAPIError), canary.engine.begin() as connection:
        connection.execute(sa.text(statement))
    assert now(canary) == before


def test_every_change_is_kept_in_its_order(canary: Store) -> None:
    move(canary, 1, 1, weight=0.25)
    canary.roll_back(NAME, actor="judge", reason="errors")
    found = canary.traffic_changes(NAME)
    assert [(one.version, one.state, one.weight) for one in found] == [
        (1, "canary", 0.05), (2, "canary", 0.25), (3, "rolled_back", 0),
    ]  # fmt: skip
    assert found[-1].reason == "errors"
    assert [one.version for one in canary.traffic_changes(NAME, 2)] == [3]


def test_gateways_are_told(canary: Store) -> None:
    with canary.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.autocommit = True
        driver.execute("LISTEN quantplay_traffic")
        canary.roll_back(NAME, actor="judge", reason="errors")
        assert [note.payload for note in driver.notifies(timeout=10, stop_after=1)] == [NAME]


def test_an_unknown_endpoint_is_named_with_those_there_are(canary: Store) -> None:
    with pytest.raises(InputError, match="no such endpoint") as raised:
        canary.roll_back("chit", actor="on-call", reason="-")
    assert NAME in str(raised.value)


def test_of_two_controllers_one_promotes_and_any_rollback_wins(canary: Store) -> None:
    """Both promote from the version they saw, and a rollback comes in between: never two promotions of one version."""
    for _ in range(20):
        seen = now(canary)
        won: list[int] = []
        start = threading.Barrier(3)

        def promote(seen: TrafficPolicy, start: threading.Barrier, won: list[int]) -> None:
            start.wait()
            with contextlib.suppress(Conflict):
                won.append(move(canary, 1, seen.version, revision=seen.revision, weight=0.5))

        def take_back(start: threading.Barrier) -> None:
            start.wait()
            canary.roll_back(NAME, actor="judge", reason="errors")

        jobs: list[tuple[Callable[..., None], tuple]] = [(promote, (seen, start, won))] * 2 + [(take_back, (start,))]
        threads = [threading.Thread(target=work, args=told) for work, told in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) <= 1
        assert now(canary).state == "rolled_back"
        move(canary, 1, now(canary).version, revision=revision(canary))
