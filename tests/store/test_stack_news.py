"""What a worker says of the stack when it starts, with a real database; no Prefect server runs here."""

from __future__ import annotations

import pytest

from flows.stack_news import NOTED, tell_of_new_stack
from quantplay.settings import Settings
from quantplay.store.registry import Store


@pytest.fixture
def lines() -> list[str]:
    return []


def test_the_first_start_notes_and_the_next_has_nothing_to_say(
    store: Store, database_settings: Settings, lines: list[str]
) -> None:
    for _ in range(2):
        tell_of_new_stack(database_settings, store, "gpu", "cpu", lines.append)
    assert lines == []
    assert len(store.events(kind=NOTED)) == 1


def test_a_new_container_with_an_empty_home_still_sees_the_upgrade(
    store: Store, database_settings: Settings, lines: list[str]
) -> None:
    tell_of_new_stack(database_settings, store, "gpu", "cpu", lines.append)
    noted = store.events(kind=NOTED)[-1]
    older = {**noted.body, "software": {**noted.body["software"], "python": "3.10.0"}}
    store.append_event("quantplay", NOTED, noted.subject, older)
    tell_of_new_stack(database_settings, store, "gpu", "cpu", lines.append)
    assert "3.10.0" in lines[0]
    assert store.events(kind=NOTED)[-1].body == noted.body
