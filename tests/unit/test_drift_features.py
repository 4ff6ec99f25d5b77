"""Features of a request: the same numbers whatever the order of adding up, never a text, never an exception."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantplay.live.drift.features import (
    BUCKETS,
    CODE,
    JSON,
    LAST_LENGTH,
    MARKS,
    TOOLS,
    Features,
    bucket_start,
    length_bucket,
    of_request,
    of_text,
)
from quantplay.live.drift.fingerprint import EMPTY, FAMILIES, Fingerprint, fingerprint_of, from_counters, known
from quantplay.live.drift.languages import LANGUAGES
from quantplay.live.gateway.asked import read_fields
from quantplay.records.traffic import CounterRow

TEXT = st.text(st.characters(), max_size=80)  # lone surrogates too: JSON can carry them
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["role", "content", "text", "tools"]) | TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
REQUESTS = st.dictionaries(st.sampled_from(["messages", "prompt", "tools", "functions"]), ANYTHING)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "tool"]), "content": TEXT | ANYTHING})
CHATS = st.fixed_dictionaries({"messages": st.lists(MESSAGE, min_size=1, max_size=5)})
FEATURES = st.builds(
    of_request, st.fixed_dictionaries({"prompt": st.text(max_size=30)}), st.none() | st.integers(0, 5000)
)
FINGERPRINTS = st.lists(FEATURES, max_size=4).map(fingerprint_of)


def inside(found: Features) -> None:
    names = list(found.counts())
    assert all(known(name) for name in names)
    assert len(found.marks) <= MARKS
    for name in names:  # every one is a counter that the database takes
        CounterRow(source="s", endpoint="e", revision=1, minute=0, arm="quantized", name=f"drift_{name}", value=1)


@given(REQUESTS | CHATS, st.none() | st.integers(0, 10**12))
def test_no_request_is_too_odd(fields: dict[str, Any], answer: int | None) -> None:
    inside(of_request(fields, answer))
    again, _, _ = read_fields(json.dumps(fields).encode())
    assert of_request(again, answer) == of_request(fields, answer)


@given(st.text(st.characters(), max_size=9000))
def test_no_text_is_too_odd(text: str) -> None:
    inside(of_text(text))


@given(FINGERPRINTS, FINGERPRINTS, FINGERPRINTS)
def test_fingerprints_add_up_in_any_order(a: Fingerprint, b: Fingerprint, c: Fingerprint) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + EMPTY == a
    assert from_counters((a + b).counters()) == a + b
    assert Fingerprint.model_validate_json((a + b).model_dump_json()) == a + b


@given(st.lists(st.text(max_size=40), max_size=6), st.randoms())
def test_the_order_of_conversations_does_not_matter(texts: list[str], draw: Any) -> None:
    whole = fingerprint_of(of_text(text) for text in texts)
    draw.shuffle(texts)
    assert fingerprint_of(of_text(text) for text in texts) == whole
    assert sum((fingerprint_of([of_text(text)]) for text in texts), EMPTY) == whole


@given(st.integers(0, 10**6), st.integers(1, 2**20))
def test_a_size_is_what_even_draws_would_be(count: int, weight: int) -> None:
    found = Fingerprint(looked=count, seen=count * weight, squares=count * weight**2)
    assert math.isclose(found.size, count)


@given(st.integers(0, 2**23))
def test_buckets_hold_what_they_say(number: int) -> None:
    found = length_bucket(number)
    assert bucket_start(found) <= number + 1e-6
    assert found == LAST_LENGTH or number < bucket_start(found + 1) + 1e-6


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the order that you sent to me?", "English"),
        ("Bitte sagen Sie mir, wo das Paket ist und wann es kommt.", "German"),
        ("Je voudrais savoir pour qui est la commande.", "French"),
        ("¿Dónde está el pedido que hice para mi casa?", "Spanish"),
        ("Gdzie jest moje zamówienie i czy mam czekać, proszę?", "Polish"),
        ("Подскажите, где мой заказ и когда он будет у меня, пожалуйста", "Russian"),
        ("Скажіть, де моє замовлення та коли він буде у мене, або ні, що з ним, але це так", "Ukrainian"),
        ("注文はどこですか", "Japanese"), ("我的订单在哪里", "Chinese"), ("주문은 어디에 있나요", "Korean"), ("أين طلبي من فضلك", "Arabic"),
        ("मेरा ऑर्डर कहाँ है", "Devanagari"), ("คำสั่งซื้อของฉันอยู่ที่ไหน", "Thai"), ("Πού είναι η παραγγελία μου", "Greek"),
        ("zzz qqq", "other Latin"), ("12 + 7 = ?", "no letters"), ("🙂🙂", "no letters"), ("", "no letters"),
    ],
)  # fmt: skip
def test_languages_are_told_apart(text: str, language: str) -> None:
    assert LANGUAGES[of_text(text).language] == language


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"prompt": "Please write a poem; about rain."}, 0),
        ({"prompt": "Fix this:\n```python\nprint(1)\n```"}, CODE),
        ({"prompt": "import os\ndef main():\n    return os.name\n"}, CODE),
        ({"prompt": 'What is {"order": 307, "item": "stool"}?'}, JSON),
        ({"messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}]}, TOOLS),
        ({"messages": [{"role": "tool", "content": '{"a": 1}'}]}, TOOLS | JSON),
    ],
)
def test_code_json_and_tools_are_seen(fields: dict[str, Any], form: int) -> None:
    assert of_request(fields).form == form


def test_a_long_text_is_read_at_both_ends_and_counted_whole() -> None:
    words = ["the", "order", "of", "this", "customer"]
    long = " ".join(words * 20_000)
    found = of_text(long)
    assert found.words == length_bucket(len(words) * 20_000)
    split = {"messages": [{"role": "user", "content": part} for part in (long[:50_000], long[50_000:])]}
    assert of_request(split).words in (found.words - 1, found.words)
    assert max(found.marks) < BUCKETS
    end = of_text(long + "\n```\nx = 1\n```")
    assert end.form == CODE


def test_what_is_unknown_to_this_version_is_left_out() -> None:
    found = from_counters(
        {"drift_seen": 4, "drift_words:3": 4, "drift_words:999": 9, "drift_later:1": 5, "conversations": 7}
    )
    assert found == Fingerprint(seen=4, counts={"words:3": 4})
    assert found.bins("words").sum() == 4
    assert set(FAMILIES) >= {"words", "turns", "language", "form", "mark", "answer"}
