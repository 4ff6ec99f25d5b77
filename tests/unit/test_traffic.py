"""Which conversations go to the quantized model: evenly spread, sticky, and ramping moves none back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import kstest

from quantplay.records.traffic import ServedArm, TrafficPolicy, position

ARM = ServedArm(url="http://localhost:1/v1", model="m", artifact="a" * 64)


def policy(**changed: Any) -> TrafficPolicy:
    told = {"endpoint": "chat", "revision": 1, "version": 1, "state": "canary", "weight": 0.1, "salt": "s"}
    return TrafficPolicy.model_validate(told | {"full_precision": ARM, "quantized": ARM} | changed)


@given(st.text(), st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_ramping_only_adds_conversations(conversation: str, salt: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if policy(weight=small, salt=salt).assigned(conversation) == "quantized":
        assert policy(weight=large, salt=salt).assigned(conversation) == "quantized"


def test_conversations_are_spread_evenly_and_salts_shuffle_them() -> None:
    first, second = ([position(salt, f"conversation {n}") for n in range(20_000)] for salt in ("one", "two"))
    assert kstest(first, "uniform").pvalue > 1e-4
    both = sum(a < 0.1 and b < 0.1 for a, b in zip(first, second, strict=True))
    assert 0.006 < both / 20_000 < 0.015  # independent: 1 %


@pytest.mark.parametrize(
    "changed",
    [{"state": "locked"}, {"state": "rolled_back"}, {"state": "retired"}, {"kill": True}, {"quantized": None}],
)
def test_the_quantized_model_answers_nobody_unless_it_serves(changed: dict[str, Any]) -> None:
    there = policy(weight=1.0, **changed)
    assert {there.assigned(f"{n}") for n in range(100)} == {"full_precision"}


@pytest.mark.parametrize("url", ["http://host", "ftp://host/v1", "http://host/v1?key=1", "host/v1"])
def test_an_address_that_is_no_api_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        ServedArm(url=url, model="m", artifact="a" * 64)
