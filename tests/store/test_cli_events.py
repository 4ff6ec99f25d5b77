"""`quantplay events` on a real database: whose events, and what a changed chain says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from locked_models import lock_model

from quantplay.store.registry import Store

Ask = Callable[..., str]


def listed(ask: Ask, **arguments: Any) -> list[dict[str, Any]]:
    return json.loads(ask("events", json=True, **arguments))["events"]


def last_link(ask: Ask) -> str:
    return json.loads(ask("events_verify", remembered=[], json=True))["last"]


def behind_its_back(store: Store, text: str) -> None:
    with store.engine.begin() as connection:  # as a superuser could
        connection.execute(sa.text("ALTER TABLE quantplay.events DISABLE TRIGGER USER"))
        connection.execute(sa.text(text))


def test_events_of_one_package_and_nobody_elses(ask: Ask, store: Store) -> None:
    desk, chat = lock_model(store, "desk"), lock_model(store, "chat", model="another")
    store.set_alias("desk/production", desk, actor="ann", reason="first")
    mine = listed(ask, about=f"desk-{desk[:12]}")
    assert "desk/production" in {one["subject"] for one in mine}
    assert chat not in json.dumps(mine)
    everything = listed(ask, limit=1_000_000)
    assert [one["seq"] for one in everything] == list(range(1, len(everything) + 1))
    assert listed(ask, actor="ann") == [one for one in everything if one["actor"] == "ann"]
    assert listed(ask, limit=2) == everything[-2:]
    assert "No such event" in ask("events", about="nobody/knows")
    assert "ann" in ask("events", about=desk[:12])


def test_a_whole_chain_and_its_last_link(ask: Ask, store: Store) -> None:
    store.append_event("ann@host", "plan stored", "abc")
    last = last_link(ask)
    store.append_event("bob", "gate decided", "abc")
    assert "1 as remembered" in ask("events_verify", remembered=[last])


def test_what_was_changed_or_cut_off_is_named(ask: Ask, store: Store) -> None:
    for number in range(4):
        store.append_event("ann@host", "plan stored", f"plan {number}")
    last = last_link(ask)
    behind_its_back(store, "DELETE FROM quantplay.events WHERE seq = (SELECT max(seq) FROM quantplay.events)")
    ask("events_verify", remembered=[])  # right in itself
    assert "is missing, and was remembered" in ask("events_verify", code=2, remembered=[last])
    behind_its_back(store, "UPDATE quantplay.events SET actor = 'eve' WHERE subject = 'plan 1'")
    assert "is not that of its content" in ask("events_verify", code=2, remembered=[])


@pytest.mark.parametrize("text", ["", "7", "7:abc", "0:" + "a" * 64, "-1:" + "a" * 64, "x:" + "a" * 64])
def test_what_is_no_link_is_refused(ask: Ask, text: str) -> None:
    assert "NUMBER:DIGEST" in ask("events_verify", code=2, remembered=[text])
