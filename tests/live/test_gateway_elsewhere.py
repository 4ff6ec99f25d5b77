"""Feedback on another gateway's answer, and the signs of life, as clients and operators see them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway_parts import gateway_up, run, until

from quantplay.errors import ServiceUnavailable
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.ports import Waiting
from quantplay.records.traffic import FeedbackRow

LIMITS = Limits(flush_seconds=0.05, check_seconds=0.1, others_seconds=0.02, beat_seconds=0.02, passed_on=2)


class Board:
    """Where gateways of one process meet; it can be away."""

    def __init__(self) -> None:
        self.rows: dict[FeedbackRow, None] = {}
        self.beats: list[Mapping[str, int]] = []
        self.away = False

    async def beat(self, source: str, versions: Mapping[str, int]) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        self.beats.append(versions)

    async def exchange(self, given: Sequence[FeedbackRow], settled: Sequence[FeedbackRow]) -> Waiting:
        if self.away:
            raise ServiceUnavailable("away")
        for row in settled:
            self.rows.pop(row, None)
        self.rows |= dict.fromkeys(given)
        return Waiting(rows=[*self.rows])


def test_feedback_on_another_gateways_answer_is_accepted_and_counted_there(tmp_path: Path) -> None:
    async def test() -> None:
        board = Board()
        async with (
            gateway_up(tmp_path / "one", weight=1, limits=LIMITS, others=board) as one,
            gateway_up(tmp_path / "two", weight=1, limits=LIMITS, others=board) as two,
        ):
            answer = await one.post()
            told = {"id": answer.headers["x-quantplay-response-id"], "signal": "escalation"}
            for url, status, counted in ((two.url, 202, False), (one.url, 200, True), (one.url, 200, False)):
                async with two.session.post(f"{url}/feedback", json=told) as said:
                    assert (said.status, await said.json()) == (status, {**told, "counted": counted})
                if status == 202:
                    await until(lambda: one.gateway.telemetry.counters.totals.get(("chat", "quantized", "escalation")))
                    one.gateway.telemetry.ledger.counted.clear()  # so that the next one counts here, and shows it can
            await until(lambda: not board.rows)
            async with one.session.get(one.url.removesuffix("/v1") + "/metrics") as metrics:
                text = await metrics.text()
            assert "quantplay_feedback_taken_total 1\n" in text
            assert "quantplay_feedback_unmatched_total 0\n" in text

    run(test)


def test_feedback_waits_while_the_others_are_away_and_has_an_end(tmp_path: Path) -> None:
    async def test() -> None:
        board = Board()
        board.away = True
        async with gateway_up(tmp_path, weight=1, limits=LIMITS, others=board) as bench:
            statuses = []
            for name in ("r1", "r2", "r2", "r3", "\ud800"):
                told = {"id": name, "signal": "thumbs_down"}
                async with bench.session.post(f"{bench.url}/feedback", json=told) as said:
                    statuses.append(said.status)
            assert statuses == [202, 202, 202, 429, 404]
            board.away = False
            await until(lambda: len(board.rows) == 2)
            assert not bench.gateway.elsewhere.waiting

    run(test)


def test_a_sign_of_life_tells_the_versions_and_comes_after_the_counts(tmp_path: Path) -> None:
    async def test() -> None:
        board = Board()
        async with gateway_up(tmp_path, limits=LIMITS, others=board) as bench:
            await until(lambda: board.beats[-1:] == [{"chat": 1}])
            await bench.swapped(weight=0.7)
            await until(lambda: board.beats[-1] == {"chat": 2})
            (bench.sink.folder / "counters.jsonl").mkdir(parents=True)  # counts can't be written: then no sign either
            await bench.post()
            await until(lambda: bench.gateway.telemetry.fault)
            known = len(board.beats)
            await asyncio.sleep(0.2)
            assert len(board.beats) == known
            (bench.sink.folder / "counters.jsonl").rmdir()
            await until(lambda: len(board.beats) > known)

    run(test)
