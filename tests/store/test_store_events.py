"""The event chain: the database refuses everything but the next link."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from quantplay.errors import InputError
from quantplay.settings import Settings
from quantplay.store import events, tables
from quantplay.store.events import Event
from quantplay.store.registry import Store


def row(event: Event) -> dict[str, Any]:
    return dataclasses.asdict(event)


def following(last: Event, **changes: Any) -> Event:
    """The link after `last`, right but for `changes`; its digest is that of the changed content."""
    event = dataclasses.replace(last, seq=last.seq + 1, previous=last.digest, **changes)
    return dataclasses.replace(event, digest=events.digest_of_event(event))


def test_events_come_back_and_verify(store: Store) -> None:
    assert store.events() == ()
    assert store.verify_events() == ()
    first = store.append_event("ann@host", "plan stored", "abc", {"name": "ünï 💡", "n": -0.0, "list": [1, 2.5, None]})
    second = store.append_event("bob", "gate decided", "abc")
    assert store.events() == (first, second)
    assert (first.seq, first.previous, second.previous) == (1, events.FIRST, first.digest)
    assert first.body == {"name": "ünï 💡", "n": 0.0, "list": [1, 2.5, None]}
    assert store.events(kind="gate decided", subject="abc") == (second,)
    assert store.events(subject="other") == ()
    assert store.verify_events({1: first.digest, 2: second.digest}) == ()
    with store.engine.connect() as connection:
        assert connection.scalar(sa.text("select body->>'name' from quantplay.events where seq = 1")) == "ünï 💡"


@pytest.mark.parametrize(
    "statement",
    [
        "update quantplay.events set actor = 'x'",
        "update quantplay.events set actor = 'x' where false",
        "delete from quantplay.events",
        "delete from quantplay.events where seq = 2",
        "truncate quantplay.events",
        "truncate quantplay.events cascade",
        "insert into quantplay.events select * from quantplay.events on conflict (seq) do update set actor = 'x'",
        "set session_replication_role = replica; delete from quantplay.events",
        "merge into quantplay.events e using (select 1) s on e.seq = 1 when matched then delete",
    ],
)
def test_the_database_refuses_every_change(store: Store, statement: str) -> None:
    for number in range(3):
        store.append_event("ann", "k", str(number))
    before = store.events()
    with pytest.raises(DBAPIError), store.engine.begin() as connection:
        connection.execute(sa.text(statement))
    assert store.events() == before
    assert store.verify_events() == ()


def test_the_database_refuses_a_wrong_link(store: Store) -> None:
    first = store.append_event("ann", "k", "1", {"a": 1})
    last = store.append_event("ann", "k", "2", {"a": 2})
    good = following(last)
    wrong = {
        "a gap": following(dataclasses.replace(last, seq=7)),
        "a fork": dataclasses.replace(following(first), seq=3),
        "a second first": dataclasses.replace(first, seq=1),
        "another digest": dataclasses.replace(good, digest="0" * 63 + "1"),
        "another content": dataclasses.replace(good, actor="eve"),
        "another body": dataclasses.replace(good, canonical='{"a":3}'),
        "back-dated": following(last, at=last.at - timedelta(days=1)),
        "from the future": following(last, at=last.at + timedelta(days=1)),
        "two lines": following(last, subject="a\nb"),
        "no JSON": following(last, canonical="{"),
    }
    for name, event in wrong.items():
        with pytest.raises(DBAPIError), store.engine.begin() as connection:
            connection.execute(sa.insert(tables.events).values(row(event)))
        assert store.events() == (first, last), name
    with store.engine.begin() as connection:  # the oracle: what is right is taken
        connection.execute(sa.insert(tables.events).values(row(good)))
    assert store.verify_events() == ()


def test_several_links_in_one_statement(store: Store) -> None:
    last = store.append_event("ann", "k", "1")
    chain = [following(last)]
    chain.append(following(chain[-1]))
    with store.engine.begin() as connection:
        connection.execute(sa.insert(tables.events).values([row(event) for event in chain]))
    assert store.verify_events() == ()


def test_verifying_finds_what_a_superuser_did(store: Store) -> None:
    chain = [store.append_event("ann", "k", str(number), {"n": number}) for number in range(5)]
    anchors = {5: chain[-1].digest}
    with store.engine.begin() as connection:
        connection.execute(sa.text("alter table quantplay.events disable trigger all"))
        connection.execute(sa.text("update quantplay.events set actor = 'eve' where seq = 2"))
        connection.execute(sa.text("delete from quantplay.events where seq = 4"))
    found = store.verify_events(anchors)
    assert any("event 2: digest" in text for text in found)
    assert any("events are missing" in text for text in found)
    with store.engine.begin() as connection:
        connection.execute(sa.text("delete from quantplay.events where seq > 1"))
    assert store.verify_events() == ()  # a cut-off tail shows only against something remembered
    assert store.verify_events(anchors) == (f"event 5: is missing, and was remembered with digest {anchors[5][:12]}",)


def test_an_event_of_two_lines_is_refused_in_words(store: Store) -> None:
    with pytest.raises(InputError, match="one line"):
        store.append_event("ann\nroot", "k", "s")


def test_threads_append_one_chain(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.append_event(f"thread {number % 8}", "k", str(number)), range(80)))
    assert [event.seq for event in store.events()] == list(range(1, 81))
    assert {event.subject for event in store.events()} == {str(number) for number in range(80)}
    assert store.verify_events() == ()


APPEND = """
import sys
from quantplay.settings import read_settings
from quantplay.store.registry import open_store
with open_store(read_settings()) as store:
    for number in range(25):
        store.append_event(sys.argv[1], "k", str(number), {"n": number})
"""


def test_processes_append_one_chain(database_settings: Settings, store: Store) -> None:
    assert database_settings.database_url is not None
    environment = {"QUANTPLAY_DATABASE_URL": database_settings.database_url, "PATH": "/usr/bin:/bin"}
    running = [
        subprocess.Popen([sys.executable, "-c", APPEND, f"process {number}"], env=environment) for number in range(2)
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(store.events()) == 50
    assert store.verify_events() == ()
