"""Gateway's ports and the judge's look on a real database: changes arrive, counts count once, a bad model is taken back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from uuid import UUID

import pytest
import sqlalchemy as sa

from quantplay.live.gateway.database import READ_AGAIN_SECONDS, DatabaseOthers, DatabaseSink, DatabaseSource
from quantplay.live.release import release
from quantplay.live.tick import look
from quantplay.records.rollback_rules import RollbackRules
from quantplay.records.traffic import CounterRow, PolicyRevision, ServedArm, TrafficPolicy
from quantplay.store.registry import Store

NAME = "chat"
SOURCE = str(UUID(int=7))
RULES = RollbackRules(min_conversations=500)


def canary(store: Store, weight: float = 0.5) -> TrafficPolicy:
    arms = {"full_precision": ServedArm(url="http://h:1/v1", model="f", artifact="a" * 64)}
    arms["quantized"] = ServedArm(url="http://h:2/v1", model="q", artifact="b" * 64)
    told = PolicyRevision(endpoint=NAME, package="c" * 64, salt="s", steps=(0.5, 1.0), rules=RULES, **arms)
    release(store, told, weight=weight, actor="tester", reason="a test")
    (found,) = store.traffic_policies(NAME)
    return found


async def first_change(store: Store, change: Callable[[], object]) -> tuple[TrafficPolicy, float]:
    """The policy after `change`, and how long after it came."""
    source = DatabaseSource(open=lambda: store).policies()
    (before,) = await anext(source)
    await asyncio.to_thread(change)
    started = time.monotonic()
    async for (policy,) in source:
        if policy.version != before.version:
            await source.aclose()  # type: ignore[attr-defined]
            return policy, time.monotonic() - started
    raise AssertionError


def test_a_rollback_reaches_gateways_by_notification_and_without_one_a_little_later(store: Store) -> None:
    canary(store)
    policy, seconds = asyncio.run(first_change(store, lambda: store.roll_back(NAME, actor="t", reason="r")))
    assert policy.share == 0
    assert seconds < READ_AGAIN_SECONDS
    canary(store)
    with store.engine.begin() as connection:  # notifications are lost: here, none is sent
        connection.execute(sa.text("ALTER TABLE quantplay.traffic_pointer DISABLE TRIGGER traffic_pointer_noted"))
    policy, _ = asyncio.run(first_change(store, lambda: store.roll_back(NAME, actor="t", reason="r")))
    assert policy.share == 0


def row(minute: int, name: str, value: int, arm: str = "quantized") -> CounterRow:
    return CounterRow.model_validate(
        {"source": SOURCE, "endpoint": NAME, "revision": 1, "minute": minute, "arm": arm, "name": name, "value": value}
    )


def test_a_gateways_sums_are_what_its_minutes_add_up_to(store: Store) -> None:
    sink, draw, value, flushed = DatabaseSink(open=lambda: store), random.Random(1), dict.fromkeys((5, 6, 7), 0), []
    for _ in range(30):
        minute = draw.choice(list(value))
        value[minute] += draw.randint(0, 3)
        flushed.append(row(minute, "error", value[minute]))
        for again in (flushed[-1:], flushed[-3:])[: draw.randint(1, 2)]:
            asyncio.run(sink.write(again, []))
    assert store.live_totals(NAME, 1) == {("quantized", "error"): sum(value.values())}


def feed(store: Store, sink: DatabaseSink, minute: int, *, bad: float, draw: random.Random, each: int = 60) -> None:
    """One more minute of `each` conversations an arm; full precision fails in 2 %, the quantized model in `bad`."""
    rows = []
    for arm, rate in (("quantized", bad), ("full_precision", 0.02)):
        rows += [
            row(minute, "conversations", each, arm),
            row(minute, "error", sum(draw.random() < rate for _ in range(each)), arm),
        ]
    asyncio.run(sink.write(rows, []))


@pytest.fixture
def began(store: Store) -> tuple[Store, int]:
    canary(store)
    return store, int(store.traffic_changes(NAME)[-1].at.timestamp())


def test_a_model_that_fails_is_taken_back_with_an_incident_and_stays_back(began: tuple[Store, int]) -> None:
    store, start = began
    sink, draw = DatabaseSink(open=lambda: store), random.Random(3)
    for minute in range(1, 40):
        feed(store, sink, minute, bad=0.25, draw=draw)
        seen = look(store, NAME, start + 60 * minute)
        assert seen is not None
        if seen.verdict.action == "rollback":
            break
    assert seen.verdict.cause in ("floor", "worse")
    assert "Errors: " in " ".join(seen.verdict.reasons)
    (policy,) = store.traffic_policies(NAME)
    assert (policy.state, policy.share) == ("rolled_back", 0)
    (incident,) = store.list_incidents(open_only=True)
    assert (incident.kind, incident.package) == ("live rollback", "c" * 64)
    assert [one.kind for one in store.events(subject=NAME)] == ["traffic.released", "traffic.rolled_back"]
    assert store.verify_events() == ()
    assert look(store, NAME, start + 60 * 41) is None


def test_a_model_as_good_gets_more_and_then_stays_at_the_top(began: tuple[Store, int]) -> None:
    store, start = began
    sink, draw, actions = DatabaseSink(open=lambda: store), random.Random(5), []
    for minute in range(1, 160):
        feed(store, sink, minute, bad=0.01, draw=draw, each=400)
        seen = look(store, NAME, start + 60 * minute)
        assert seen is not None
        actions.append(seen.verdict.action)
        if "promote" in actions:
            break
    (policy,) = store.traffic_policies(NAME)
    assert actions[-1] == "promote", seen.verdict.reasons
    assert (policy.state, policy.weight) == ("live", 0.95)  # a twentieth is held back for comparison


def test_without_counts_the_share_is_frozen_and_then_taken_back(began: tuple[Store, int]) -> None:
    store, start = began
    feed(store, DatabaseSink(open=lambda: store), 1, bad=0.02, draw=random.Random(1))
    told = [look(store, NAME, start + 60 * minute) for minute in (1, 7, 17)]
    assert [one.verdict.action for one in told if one] == ["continue", "freeze", "rollback"]
    assert told[-1] is not None
    assert told[-1].verdict.cause == "blind"
    assert store.list_incidents(open_only=True) == ()  # nobody can say that the model was bad


def test_a_gateway_without_traffic_keeps_the_judge_from_taking_back(began: tuple[Store, int]) -> None:
    store, start = began
    feed(store, DatabaseSink(open=lambda: store), 1, bad=0.02, draw=random.Random(1))
    others = DatabaseOthers(open=lambda: store)
    actions = []
    for minute, versions in ((1, {NAME: 1}), (600, {NAME: 1}), (1200, {"another": 1})):
        asyncio.run(others.beat(SOURCE, versions))
        seen = look(store, NAME, start + 60 * minute)
        assert seen is not None
        actions.append(seen.verdict.action)
    assert actions == [
        "continue",
        "continue",
        "rollback",
    ]  # a gateway that does not serve the endpoint sees nothing of it


def test_a_judge_killed_between_acting_and_remembering_goes_on(
    began: tuple[Store, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, start = began
    sink, draw = DatabaseSink(open=lambda: store), random.Random(3)
    with monkeypatch.context() as broken:
        broken.setattr(type(store), "put_judgement", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        feed(store, sink, 1, bad=0.9, draw=draw)
        feed(store, sink, 2, bad=0.9, draw=draw)
        with pytest.raises(KeyboardInterrupt):
            look(store, NAME, start + 120)
    (policy,) = store.traffic_policies(NAME)
    assert policy.state == "rolled_back"
    assert look(store, NAME, start + 180) is None
    assert store.verify_events() == ()


def test_what_a_judge_did_and_was_killed_before_it_told_is_told_by_the_next_one(
    began: tuple[Store, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = began
    sink = DatabaseSink(open=lambda: store)
    for name in ("open_incident", "append_event"):
        canary(store) if name == "append_event" else None
        number = store.traffic_policies(NAME)[0].revision
        with monkeypatch.context() as broken:
            broken.setattr(type(store), name, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            source = str(UUID(int=100 + number))
            for minute in (1, 2):
                rows = [
                    row(minute, what, value * minute, arm).model_copy(update={"revision": number, "source": source})
                    for arm in ("quantized", "full_precision")
                    for what, value in (
                        ("conversations", 60),
                        ("error", 54 if arm == "quantized" else 1),
                    )
                ]
                asyncio.run(sink.write(rows, []))
            with pytest.raises(KeyboardInterrupt):
                look(store, NAME, int(time.time()) + 120)
        assert store.traffic_policies(NAME)[0].state == "rolled_back"
        for _ in range(2):  # once, however often somebody looks
            assert look(store, NAME, int(time.time()) + 180) is None
        told = [one.body for one in store.events(kind="traffic.rolled_back", subject=NAME)]
        assert [one["revision"] for one in told] == [*range(1, number + 1)]
        (incident,) = store.list_incidents(open_only=True)
        assert "Errors" in incident.what
