"""Trouble with one run that waits for signatures keeps nobody else from being reminded."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.exceptions import ObjectNotFound

from flows import reminders
from quantplay.errors import ServiceUnavailable

TROUBLES = [
    httpx.ConnectError("the server is away"),
    ObjectNotFound(Exception("404")),
    ServiceUnavailable("the database is away"),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: type(one).__name__)
def test_the_others_are_reminded(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    def look_after(waiting: Any, now: datetime) -> list[str]:
        if waiting.waits.run == "bad":
            raise trouble
        return [waiting.waits.run]

    monkeypatch.setattr(reminders, "look_after", look_after)
    waiting: list[Any] = [SimpleNamespace(waits=SimpleNamespace(run=run)) for run in ("first", "bad", "last")]
    said, failed = reminders.look_after_all(waiting, datetime.now(UTC))
    assert said == ["first", "last"]
    assert len(failed) == 1
    assert "bad" in failed[0]
