"""What the judge reads: each thing once a conversation, charged to the assigned arm, exact whatever the sink does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from gateway_parts import QUICK, Bench, Script, Upstream, gateway_up, run, until
from hypothesis import given
from hypothesis import strategies as st

from quantplay.errors import ServiceUnavailable
from quantplay.live.gateway.counters import Counters, Queue
from quantplay.live.gateway.files import FileSink
from quantplay.live.gateway.ledger import Exposed, Ledger
from quantplay.live.gateway.otel import attributes
from quantplay.live.gateway.redact import redacted
from quantplay.live.speed import bucket_of
from quantplay.records.rollback_rules import SIGNALS
from quantplay.records.traffic import CounterRow, RequestRow


async def feedback(bench: Bench, response: str, signal: str) -> tuple[int, bool | None]:
    async with bench.session.post(f"{bench.url}/feedback", json={"id": response, "signal": signal}) as answer:
        return answer.status, (await answer.json()).get("counted")


def test_signals_count_once_a_conversation(tmp_path: Path) -> None:
    async def test() -> None:
        timeouts = QUICK.model_copy(update={"slow_first_token_seconds": 0.1})
        async with gateway_up(tmp_path, weight=1, timeouts=timeouts) as bench:
            for turn in range(3):
                name = {"x-conversation-id": "one"}
                answer = await bench.post(headers=name, stream=True, script={"silent": 0.2, "between": 0.01})
                response = answer.headers["x-quantplay-response-id"]
                for signal in ("thumbs_up", "thumbs_down", "escalation", "downstream_error"):
                    assert await feedback(bench, response, signal) == (200, turn == 0)
            assert await feedback(bench, "nobody", "thumbs_down") == (404, None)
            assert await feedback(bench, response, "applause") == (400, None)
            counts = await bench.counts()
            assert {arm for arm, _ in counts} == {"quantized"}
            for signal in ("thumbs_down", "escalation", "downstream_error", "slow_first_token", "conversations"):
                assert counts["quantized", signal] == 1, signal
            assert counts["quantized", "requests"] == 3
            assert counts["quantized", "tokens"] == 24
            ttft = {int(name[5:]): n for (_, name), n in counts.items() if name.startswith("ttft:")}
            assert sum(ttft.values()) == 3
            assert min(ttft) >= bucket_of(200)
            [decode] = [int(name[7:]) for (_, name), n in counts.items() if name.startswith("decode:") and n == 1]
            assert bucket_of(10) <= decode <= bucket_of(100)  # the first answer of the conversation only
            assert {name.split(":")[0] for _, name in counts} - {*SIGNALS} == {
                "conversations", "requests", "tokens", "ttft", "decode", "thumbs_up",
            }  # fmt: skip

    run(test)


def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=1) as bench:
            for n in range(3):
                await bench.post(stream=True, headers={"x-conversation-id": str(n)})
            async with bench.session.get(bench.url.removesuffix("/v1") + "/metrics") as answer:
                text = await answer.text()
            line = re.compile(r'[a-z_]+(\{([a-z]+="[^"]*",?)*\})? -?[0-9.e+-]+')
            assert [each for each in text.splitlines() if not each.startswith("#") and not line.fullmatch(each)] == []
            assert 'quantplay_requests_total{endpoint="chat",served="quantized",status="200"} 3' in text
            assert 'gen_ai_server_time_to_first_token_seconds_count{endpoint="chat",assigned="quantized"} 3' in text
            assert 'quantplay_arm_up{endpoint="chat",arm="quantized"} 1' in text

    run(test)


class Away:
    """A sink that is away for a while, and once says no although it kept everything."""

    def __init__(self, folder: Path) -> None:
        self.sink, self.away, self.lost_answers = FileSink(folder=folder), True, 1

    async def write(self, rows: Sequence[CounterRow], requests: Sequence[RequestRow]) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        await self.sink.write(rows, requests)
        if self.lost_answers:
            self.lost_answers -= 1
            raise ServiceUnavailable("the answer was lost")


def test_counts_are_exact_after_the_sink_was_away(tmp_path: Path) -> None:
    async def test() -> None:
        away = Away(tmp_path / "away")
        async with gateway_up(tmp_path, weight=0.5) as bench:
            bench.gateway.telemetry.sink = away
            await asyncio.gather(*(bench.post(headers={"x-conversation-id": f"{n % 25}"}) for n in range(100)))
            assert not (tmp_path / "away").exists()
            away.away = False
            await until(lambda: not bench.gateway.telemetry.counters.waiting)
            await bench.post(headers={"x-conversation-id": "0"})
            await until(lambda: not bench.gateway.telemetry.counters.waiting)
        totals = away.sink.totals()
        assert sum(n for (_, _, _, name), n in totals.items() if name == "requests") == 101
        assert sum(n for (_, _, _, name), n in totals.items() if name == "conversations") == 25
        assert len({row.id for row in away.sink.requests()}) == 101

    run(test)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3), st.booleans(), st.booleans()), max_size=60))
def test_rows_in_the_sink_add_up_whenever_it_is_written(steps: list[tuple[str, int, bool, bool]]) -> None:
    now = [0.0]
    counters = Counters(most_rows=3, clock=lambda: now[0])
    kept: dict[object, int] = {}
    counted = {"a": 0, "b": 0}
    for name, minutes, written, confirmed in steps:
        now[0] += 60 * minutes
        counters.add("chat", 1, "quantized", name)
        counted[name] += 1
        if written:
            pending = counters.pending()
            for place, value in pending:
                assert value >= kept.get(place, 0), "a row never falls"
                kept[place] = value
            if confirmed:
                counters.confirmed(pending)
    kept |= dict(counters.pending())
    assert {name: sum(n for place, n in kept.items() if place.name == name) for name in counted} == counted  # type: ignore[attr-defined]
    assert len(counters.values) <= 4


@given(st.lists(st.integers(0, 9), max_size=200), st.integers(1, 5))
def test_the_ledger_is_bounded_and_forgets_the_least_recent(conversations: list[int], remembered: int) -> None:
    ledger, recent = Ledger(remembered), []
    for number in conversations:
        exposed = Exposed("chat", 1, "quantized", str(number))
        assert ledger.enter(exposed) == (number not in recent)
        assert ledger.first(exposed, "error") == (number not in recent)
        assert not ledger.first(exposed, "error")
        recent = [*(n for n in recent if n != number), number][-remembered:]
        assert len(ledger.counted) <= remembered


@given(st.integers(1, 5), st.lists(st.integers(1, 4), max_size=20))
def test_the_queue_drops_the_oldest_and_counts_them(length: int, puts: list[int]) -> None:
    queue, number = Queue(length), 0
    for count in puts:
        taken = queue.take(2)
        for _ in range(count):
            queue.put(number)  # type: ignore[arg-type]
            number += 1
        queue.give_back(taken)
        assert len(queue.rows) <= length
        assert list(queue.rows) == sorted(queue.rows)
        assert len(queue.rows) + queue.dropped == number


def test_text_is_stored_only_where_asked_for_and_without_secrets(tmp_path: Path) -> None:
    said = "I am ann@example.com, +49 170 1234567, my password is hunter2, key sk-abcdefgh12345678abcdefgh. Why is the sky blue?"

    async def test() -> None:
        async with gateway_up(tmp_path, weight=1, sampling=0) as bench:
            await bench.post(messages=[{"role": "user", "content": said}])
            await bench.swapped(sampling=1.0)
            await bench.post(messages=[{"role": "user", "content": [{"type": "text", "text": said}]}])
            await bench.swapped(sampling=0.5)
            for n in range(100):
                await bench.post(messages=[{"role": "user", "content": f"x{n}"}])
            await until(lambda: len(bench.sink.requests()) == 102)
            first, second, *rest = bench.sink.requests()
            assert first.text is None
            assert second.text is not None
            assert "Why is the sky blue?" in second.text
            assert not re.search(r"ann@|1234567|hunter2|sk-", second.text)
            assert 20 < len([row for row in rest if row.text]) < 80

    run(test)


@pytest.mark.parametrize(
    "secret",
    [
        "max.muster+x@mail.example.co.uk", "4111 1111 1111 1111", "DE89370400440532013000", "030/1234-567",
        "AKIAIOSFODNN7EXAMPLE1", "eyJhbGciOiJIUzI1NiJ9_abc", "https://user:pw@host/x?token=1", "api_key=abc",
        "Bearer abc.def", "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_redaction(secret: str) -> None:
    assert secret not in redacted(f"before {secret} after")
    assert redacted("Why are there 12 months in a year?") == "Why are there 12 months in a year?"


def test_rows_have_opentelemetrys_names() -> None:
    row = RequestRow(
        at=0, id="r1", endpoint="chat", revision=2, assigned="quantized", served="full_precision", status=502,
        prompt_tokens=3, completion_tokens=5, total_ms=8, finish="stop",
    )  # fmt: skip
    assert attributes(row) == {
        "gen_ai.response.id": "r1", "gen_ai.request.model": "chat", "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 5, "gen_ai.response.finish_reasons": ["stop"], "error.type": "502",
        "http.response.status_code": 502, "quantplay.revision": 2, "quantplay.arm.assigned": "quantized",
        "quantplay.arm.served": "full_precision",
    }  # fmt: skip


def test_rows_of_an_answer_hold_what_the_answer_says(tmp_path: Path) -> None:
    async def test() -> None:
        small = Upstream(models=("small-model",), script=Script(chunks=5))
        async with gateway_up(tmp_path, weight=1, small=small) as bench:
            await bench.post()
            await bench.post(stream=True)
            await bench.post(stream=True, stream_options={"include_usage": True})
            await until(lambda: len(bench.sink.requests()) == 3)
            whole, plain, usage = bench.sink.requests()
            assert (whole.prompt_tokens, whole.completion_tokens, whole.finish, whole.first_token_ms) == (
                7,
                5,
                "stop",
                None,
            )
            assert (plain.completion_tokens, plain.finish) == (None, "stop")
            assert (usage.prompt_tokens, usage.completion_tokens) == (7, 5)
            assert plain.first_token_ms is not None
            assert 0 < plain.first_token_ms <= plain.total_ms
            for row in (whole, plain, usage):
                assert RequestRow.model_validate(row.body()) == row

    run(test)
