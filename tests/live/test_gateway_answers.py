"""What clients get: the arm's bytes, the same arm for all turns, another arm only before the first byte, errors in OpenAI's form."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateway_parts import QUICK, Script, Upstream, arm, events_of, gateway_up, is_whole, run, until, whole_stream

from quantplay.live.gateway.files import read_policies, write_policies


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("stream", [False, True])
def test_the_arm_of_the_policy_answers_and_says_so(tmp_path: Path, weight: float, stream: bool) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=weight) as bench:
            answer = await bench.post(stream=stream, temperature=0.25)
            name, upstream = ("quantized", bench.small) if weight else ("full_precision", bench.full)
            assert answer.status == 200
            assert whole_stream(answer.body) if stream else is_whole(answer.text)
            assert answer.headers["x-quantplay-endpoint"] == "chat"
            assert answer.headers["x-quantplay-assigned"] == answer.served == name
            assert answer.headers["x-quantplay-revision"] == "1"
            [seen] = upstream.seen
            assert seen.fields == {
                "model": upstream.models[0], "messages": [{"role": "user", "content": "hello"}], "stream": stream,
                "temperature": 0.25,
            }  # fmt: skip
            first = events_of(answer.body)[0] if stream else answer.json
            assert answer.headers["x-quantplay-response-id"] == first["id"]

    run(test)


def test_the_body_reaches_the_arm_as_it_was_but_for_the_model(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=0) as bench:
            sent = '\n{ "prompt" : "a\\u00e9\\ud800 \U0001f600",\t"seed":1.50e3,\n"model": "chat" , "x":{"model":"chat"} }  '
            headers = {"content-type": "application/json; charset=utf-8"}
            async with bench.session.post(f"{bench.url}/completions", data=sent.encode(), headers=headers) as answer:
                assert answer.status == 200
            [seen] = bench.full.seen
            assert seen.body.decode() == sent.replace('"model": "chat"', '"model": "full-model"')

    run(test)


def test_conversations_stay_with_their_arm_and_a_ramp_only_adds(tmp_path: Path) -> None:
    async def served(bench: Any) -> list[str]:
        return [(await bench.post(headers={"x-conversation-id": f"c{n}"})).served for n in range(60)]

    async def test() -> None:
        async with gateway_up(tmp_path, weight=0.2) as bench:
            before = await served(bench)
            assert before == await served(bench)
            await bench.swapped(weight=0.6)
            after = await served(bench)
            assert all(now == "quantized" for was, now in zip(before, after, strict=True) if was == "quantized")
            assert before.count("quantized") < after.count("quantized") < 60

    run(test)


def test_all_turns_of_a_conversation_fall_alike_without_a_name(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=0.5) as bench:
            arms = set()
            for n in range(20):
                turns: list[dict[str, str]] = [{"role": "system", "content": "s"}, {"role": "user", "content": f"q{n}"}]
                first = (await bench.post(messages=turns)).served
                turns += [{"role": "assistant", "content": "a"}, {"role": "user", "content": "more"}]
                assert (await bench.post(messages=turns)).served == first
                arms.add(first)
            assert arms == {"quantized", "full_precision"}
            counts = await bench.counts()
            assert counts["quantized", "conversations"] + counts["full_precision", "conversations"] == 20
            assert counts["quantized", "requests"] + counts["full_precision", "requests"] == 40

    run(test)


FAULTS = {
    "status": {"status": 500},
    "overloaded": {"status": 429},
    "no such model": {"status": 404},
    "no JSON": {"no_json": True},
    "slow": {"first": 1.0},
    "silent": {"silent": 1.0},
    "breaks": {"break_after": 0},
    "error event": {"error_after": 0},
    "empty": {"end_after": 0},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_full_precision_answers_where_the_quantized_arm_fails_before_its_first_byte(tmp_path: Path, fault: str) -> None:
    async def test() -> None:
        small = Upstream(models=("small-model",), script=Script(**FAULTS[fault]))
        async with gateway_up(tmp_path, weight=1, small=small) as bench:
            answer = await bench.post(stream=True)
            assert (answer.status, answer.served) == (200, "full_precision")
            assert answer.headers["x-quantplay-assigned"] == "quantized"
            assert whole_stream(answer.body)
            counts = await bench.counts()
            assert counts["quantized", "other_arm"] == 1
            assert ("quantized", "error") not in counts
            assert ("full_precision", "conversations") not in counts
            [row] = bench.sink.requests()
            assert (row.assigned, row.served, row.status) == ("quantized", "full_precision", 200)

    run(test)


def test_a_server_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=1) as bench:
            await bench.small.stop()
            assert (await bench.post()).served == "full_precision"
            await until(lambda: bench.gateway.standings(bench.policy)["quantized"].fault is not None)
            assert (await bench.post()).served == "full_precision"

    run(test)


def test_no_arm_that_answers_is_an_error_that_says_when_to_come_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=1) as bench:
            await bench.small.stop()
            await bench.full.stop()
            await until(lambda: bench.gateway.unready is not None)
            answer = await bench.post()
            assert (answer.status, answer.error["type"]) == (503, "server_error")
            assert int(answer.headers["retry-after"]) > 0
            async with bench.session.get(bench.url.removesuffix("/v1") + "/readyz") as ready:
                assert ready.status == 503
            assert (await bench.counts())["quantized", "error"] == 1

    run(test)


@pytest.mark.parametrize(
    ("fault", "status"), [({"status": 500}, 502), ({"first": 5.0}, 504), ({"break_after": 0}, 502)], ids=str
)
def test_full_precision_that_fails_is_an_error_of_the_assigned_arm(
    tmp_path: Path, fault: dict[str, Any], status: int
) -> None:
    async def test() -> None:
        broken = Script(**fault)
        both = {name: Upstream(models=(f"{name}-model",), script=broken) for name in ("full", "small")}
        async with gateway_up(tmp_path, weight=1, **both) as bench:
            answer = await bench.post(stream=True)
            assert answer.status == status
            assert answer.error["code"] == "upstream_failed"
            assert answer.served == "full_precision"
            counts = await bench.counts()
            assert counts["quantized", "error"] == counts["quantized", "other_arm"] == 1
            assert not [name for arm_, name in counts if arm_ == "full_precision"]

    run(test)


def test_what_the_client_did_wrong_is_told_as_the_server_tells_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(
            tmp_path, weight=1, small=Upstream(models=("small-model",), script=Script(status=400))
        ) as b:
            answer = await b.post()
            assert (answer.status, answer.served) == (400, "quantized")
            assert answer.json["error"]["message"] == "as scripted"
            assert not {name for _, name in await b.counts()} & {"error", "other_arm"}

    run(test)


@pytest.mark.parametrize("fault", ["break_after", "end_after", "error_after", "hang_after"])
def test_what_breaks_in_mid_stream_is_told_as_an_event_and_broken_off(tmp_path: Path, fault: str) -> None:
    async def test() -> None:
        small = Upstream(models=("small-model",), script=Script(**{fault: 4}, between=0.02))
        async with gateway_up(tmp_path, weight=1, small=small) as bench:
            got = b""
            body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "stream": True}
            async with bench.session.post(f"{bench.url}/chat/completions", json=body) as answer:
                assert (answer.status, answer.headers["x-quantplay-served"]) == (200, "quantized")
                try:
                    async for chunk in answer.content.iter_any():
                        got += chunk
                    assert fault == "error_after"  # the server's own event, to the end that the server gave it
                except aiohttp.ClientPayloadError:
                    assert fault != "error_after"
            assert any(event != "[DONE]" and "error" in event for event in events_of(got))
            assert len([event for event in events_of(got) if "choices" in event]) >= 4
            assert (await bench.counts())["quantized", "error"] == 1
            assert bench.full.seen == []

    run(test)


def test_a_stream_may_last_longer_than_any_of_its_pauses_but_not_than_the_whole(tmp_path: Path) -> None:
    async def test() -> None:
        timeouts = QUICK.model_copy(update={"total_seconds": 1.0, "between_chunks_seconds": 0.3})
        async with gateway_up(tmp_path, weight=0, timeouts=timeouts) as bench:
            assert whole_stream((await bench.post(stream=True, script={"chunks": 8, "between": 0.1})).body)
            with pytest.raises(aiohttp.ClientPayloadError):
                await bench.post(stream=True, script={"chunks": 30, "between": 0.1})

    run(test)


def test_a_new_policy_changes_no_stream_under_way(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=1) as bench:
            slow = {"chunks": 20, "between": 0.03}
            streams = [asyncio.create_task(bench.post(stream=True, script=slow)) for _ in range(8)]
            await until(lambda: bench.small.running == 8)
            await bench.swapped(state="rolled_back")
            assert (await bench.post()).served == "full_precision"
            for stream in streams:
                answer = await stream
                assert answer.served == "quantized"
                assert whole_stream(answer.body)
            assert not {name for _, name in await bench.counts()} & {"error", "other_arm"}

    run(test)


@pytest.mark.parametrize(
    "change", [{"kill": True}, {"state": "retired"}, {"weight": 0.0}, {"quantized": None}], ids=str
)
def test_no_request_after_a_stop_reaches_the_quantized_arm(tmp_path: Path, change: dict[str, Any]) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=1) as bench:
            assert (await bench.post()).served == "quantized"
            await bench.swapped(**change)
            assert (await bench.post()).served == "full_precision"
            assert len(bench.small.seen) == 1

    run(test)


def test_an_older_policy_never_replaces_a_newer_one(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=1) as bench:
            first = bench.policy
            await bench.swapped(state="rolled_back")
            write_policies(bench.policies, [first])
            await asyncio.sleep(0.2)
            assert (await bench.post()).served == "full_precision"
            assert read_policies(tmp_path / "snapshot.json").policies == (bench.policy,)

    run(test)


def test_an_arm_that_serves_something_else_gets_no_traffic(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=1) as bench:
            for change in (
                {"model": "other"},
                {"artifact": "b" * 64, "model": "small-model@" + "c" * 8},
                {"build": "b2"},
            ):
                bench.small.build = "b1"
                await bench.swapped(quantized=arm(bench.small.url, "small-model").model_copy(update=change))
                assert (await bench.post()).served == "full_precision"
            await bench.swapped(quantized=arm(bench.small.url, "small-model", build="b1"))
            assert (await bench.post()).served == "quantized"
            bench.small.models = ("something-else",)
            await until(lambda: bench.gateway.standings(bench.policy)["quantized"].fault is not None)
            assert (await bench.post()).served == "full_precision"

    run(test)


def test_openai_lists(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path) as bench, bench.session.get(f"{bench.url}/models") as answer:
            entry = {"id": "chat", "object": "model", "created": 0, "owned_by": "quantplay"}
            assert await answer.json() == {"object": "list", "data": [entry]}
            async with bench.session.get(f"{bench.url}/models/chat") as one:
                assert await one.json() == entry

    run(test)


def test_the_policy_file_that_is_shown_in_the_docs_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")
    [block] = [block.split("```")[0] for block in text.split("```json\n")[1:]]
    (tmp_path / "policies.json").write_text(block)
    assert [policy.share for policy in read_policies(tmp_path / "policies.json").policies] == [0.05]
