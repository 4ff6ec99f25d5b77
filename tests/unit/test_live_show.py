"""The parts of `quantplay pilot --live` that decide nothing: who asks what, what users say of it, what is read off the looks."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest

from quantplay.cli import pilot
from quantplay.errors import MissingDependency
from quantplay.evalset import EvalItem, read_items
from quantplay.harness import server_command
from quantplay.live.show.picture import rates
from quantplay.live.show.story import Moment
from quantplay.live.show.traffic import COMPLAINS, NOISE, Conversation, Turn, conversations, reaction, right
from quantplay.live.show.users import streamed, whole

ITEMS = read_items(Path(__file__).parents[2] / "examples" / "pilot" / "evaluation" / "dev.jsonl")


def planned(seed: int, count: int = 2000, rate: float = 20) -> list[Conversation]:
    return list(islice(conversations(ITEMS, rate=rate, seed=seed), count))


def test_a_seed_is_a_plan() -> None:
    assert planned(3) == planned(3)
    assert planned(3) != planned(4)


def test_arrivals_are_a_poisson_process_and_slices_come_evenly() -> None:
    found = planned(1, 6000)
    gaps = [b.at - a.at for a, b in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1 / 20, rel=0.05)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.15)  # exponential
    asked = Counter(turn.item.slice for one in found for turn in one.turns)
    assert set(asked) == {item.slice for item in ITEMS}
    assert max(asked.values()) < 1.2 * min(asked.values())
    assert len({one.id for one in found}) == len(found)
    assert {len(one.turns) for one in found} == {1, 2}
    assert {turn.stream for one in found for turn in one.turns} == {True, False}


def item(scorer: str, answer: str) -> EvalItem:
    return EvalItem("i", "s", "d", "p", answer, scorer)


def turn(scorer: str, answer: str, mood: float) -> Turn:
    return Turn(item=item(scorer, answer), stream=False, mood=mood)


def test_users_complain_about_what_is_wrong_by_the_items_own_reference() -> None:
    assert all(right(one, one.answer) for one in ITEMS)
    assert reaction(turn("number", "total 7", 0.5), "3+4=7 total 7") is None
    assert reaction(turn("number", "total 7", NOISE / 2), "total 7") == "thumbs_down"
    assert reaction(turn("number", "total 7", COMPLAINS - 0.01), "total 8") == "thumbs_down"
    assert reaction(turn("number", "total 7", COMPLAINS), "total 8") is None
    assert reaction(turn("json", '{"a": 1}', 0.99), '{"a": ') == "downstream_error"
    assert reaction(turn("json", '{"a": 1}', 0.99), '{"a":1}') is None


def test_an_answer_that_is_not_whole_is_none() -> None:
    event = "data: " + json.dumps({"choices": [{"text": " to"}]})
    assert streamed(f"{event}\n\n{event}\n\ndata: [DONE]\n\n".encode()) == "to to"
    assert streamed(f"{event}\n\n{event}\n\n".encode()) is None
    assert streamed(b'data: {"error": {"message": "broken"}}\n\n') is None
    assert whole(json.dumps({"choices": [{"text": " total 7"}]}).encode()) == "total 7"
    assert whole(b'{"choices": []}') is None


def test_rates_are_over_enough_seconds_and_conversations() -> None:
    def moment(second: int, asked: int, bad: int) -> Moment:
        counts = {("quantized", "conversations"): asked, ("quantized", "thumbs_down"): bad}
        return Moment(at=second, share=0.5, counts=counts, verdict=None)  # type: ignore[arg-type]

    slow = [moment(3 * n, 5 * n, n) for n in range(10)]
    assert [at for at, _ in rates(slow, "quantized", "thumbs_down")] == [18, 21, 24, 27]  # 30 conversations take 18 s
    assert all(rate == pytest.approx(0.2) for _, rate in rates(slow, "quantized", "thumbs_down"))
    fast = [moment(3 * n, 100 * n, n) for n in range(10)]
    assert [at for at, _ in rates(fast, "quantized", "thumbs_down")] == [9, 12, 15, 18, 21, 24, 27]
    assert rates(fast, "full_precision", "thumbs_down") == []


@pytest.mark.parametrize(("lacking", "extra"), [("uvicorn", "gateway"), ("starlette_context", "server")])
def test_without_what_it_runs_on_it_says_how_to_install_it(
    lacking: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(server_command, "find_spec", lambda name: None if name == lacking else find(name))
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(MissingDependency) as raised:
        pilot.command(live=True)
    assert lacking in raised.value.what
    assert f"quantplay[{extra}]" in str(raised.value.fix)
