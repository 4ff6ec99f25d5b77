"""Whatever is sent, the answer is JSON in OpenAI's form, no arm sees it, and the gateway goes on."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from gateway_parts import gateway_up, run, until
from hypothesis import given
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.live.gateway.answers import Refused
from quantplay.live.gateway.asked import read_fields, understand
from quantplay.live.gateway.keys import Keyring
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.serve import require_keys

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
BODIES: dict[str, bytes] = {
    "empty": b"",
    "not UTF-8": b'{"model":"chat\xff",' + MESSAGES + b"}",
    "not JSON": b"hello",
    "half": b'{"model":"chat","messages":[',
    "a list": b'[{"model":"chat"}]',
    "two objects": b'{"model":"chat",' + MESSAGES + b"}{}",
    "model twice": b'{"model":"chat",' + MESSAGES + b',"model":"other"}',
    "stream twice, once escaped": b'{"model":"chat",' + MESSAGES + b',"stream":true,"\\u0073tream":false}',
    "not a number": b'{"model":"chat",' + MESSAGES + b',"temperature":NaN}',
    "endless number": b'{"model":"chat",' + MESSAGES + b',"n":' + b"9" * 10_000 + b"}",
    "nested": b'{"model":"chat","messages":' + b"[" * 100_000,
    "no model": b"{" + MESSAGES + b"}",
    "model is a number": b'{"model":7,' + MESSAGES + b"}",
    "stream is a text": b'{"model":"chat","stream":"yes",' + MESSAGES + b"}",
    "no messages": b'{"model":"chat"}',
    "messages are texts": b'{"model":"chat","messages":["hi"]}',
    "byte order mark": b'\xef\xbb\xbf{"model":"chat",' + MESSAGES + b"}",
    "control character": b'{"model":"ch\x00at",' + MESSAGES + b"}",
}


async def raw(url: str, text: bytes) -> tuple[int, Any]:
    """Status and JSON of the answer to bytes of our own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
    writer.write(text)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert b"content-type: application/json" in head
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    writer.close()
    return int(head.split(b" ")[1]), body


def request(body: bytes, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "host: x",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_bodies_that_are_no_requests(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path, weight=1) as bench:
            for what, body in BODIES.items():
                status, answer = await raw(bench.url, request(body))
                assert status == 400, what
                assert set(answer["error"]) == {"message", "type", "param", "code"}, what
            assert bench.small.seen == bench.full.seen == []
            assert not await bench.counts()
            assert (await bench.post()).status == 200

    run(test)


def test_what_is_too_much_or_too_slow(tmp_path: Path) -> None:
    async def test() -> None:
        limits = Limits(body_bytes=1000, head_bytes=2000, head_seconds=0.3, body_seconds=0.3, concurrent=2)
        async with gateway_up(tmp_path, weight=1, limits=limits) as bench:
            large = b'{"model":"chat","pad":"' + b"x" * 2000 + b'"}'
            assert (await raw(bench.url, request(large)))[0] == 413
            chunked = (
                b"POST /v1/completions HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            assert (await raw(bench.url, chunked + b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n"))[0] == 413
            assert (await raw(bench.url, request(b"{}")[:-1]))[0] == 408  # a byte is missing
            assert (await raw(bench.url, b"POST /v1/completions HTTP/1.1\r\nhost:"))[0] == 408
            assert (await raw(bench.url, b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 5000))[0] == 431
            assert (await raw(bench.url, b"\x16\x03\x01 nonsense\r\n\r\n"))[0] == 400
            plain = request(b"{}").replace(b"application/json", b"text/plain")
            assert (await raw(bench.url, plain))[0] == 415
            slow = [asyncio.create_task(bench.post(stream=True, script={"silent": 0.3})) for _ in range(2)]
            await until(lambda: bench.gateway.running == 2)
            third = await bench.post()
            assert (third.status, third.error["code"]) == (429, "overloaded")
            assert "retry-after" in third.headers
            assert [(await one).status for one in slow] == [200, 200]

    run(test)


def test_addresses_and_methods_that_are_none(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_up(tmp_path) as bench:
            for method, path, status in (
                ("GET", "/v1/chat/completions", 405), ("GET", "/v2", 404), ("POST", "/v1/models", 405),
                ("GET", "/v1/models/nobody", 404), ("DELETE", "/metrics", 405), ("GET", "/v1/models/", 404),
            ):  # fmt: skip
                async with bench.session.request(method, bench.url.removesuffix("/v1") + path) as answer:
                    assert (answer.status, answer.content_type) == (status, "application/json")
                    assert set((await answer.json())["error"]) == {"message", "type", "param", "code"}
            assert (await bench.post(model="nobody")).error["code"] == "model_not_found"

    run(test)


def key_file(folder: Path, *more: str) -> Path:
    lines = ["keys:"]
    for name, extra in (("alice", ""), ("bob", ", concurrent: 1"), ("carol", ", requests_per_minute: 2")):
        lines.append(f"  - {{name: {name}, sha256: {hashlib.sha256(f'key-of-{name}'.encode()).hexdigest()}{extra}}}")
    path = folder / "keys.yaml"
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def test_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALL_KEY", "upstream-secret")

    async def test() -> None:
        async with gateway_up(tmp_path, weight=1, keys=key_file(tmp_path)) as bench:
            bench.small.key = "upstream-secret"
            keyed = bench.policy.quantized.model_copy(update={"api_key_env": "SMALL_KEY"})
            await bench.swapped(quantized=keyed)
            for wrong in ({}, {"authorization": "Bearer nobody"}, {"authorization": "Basic key-of-alice"}):
                answer = await bench.post(headers=wrong)
                assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
            async with bench.session.get(f"{bench.url}/models") as models:
                assert models.status == 401
            alice = {"authorization": "Bearer key-of-alice"}
            answer = await bench.post(headers=alice)
            assert (answer.status, answer.served) == (200, "quantized")
            assert bench.small.seen[-1].headers["authorization"] == "Bearer upstream-secret"
            assert "key-of-alice" not in repr(bench.small.seen)
            feedback = {"id": answer.json["id"], "signal": "thumbs_down"}
            for name, status in (("bob", 404), ("alice", 200)):
                headers = {"authorization": f"Bearer key-of-{name}"}
                async with bench.session.post(f"{bench.url}/feedback", json=feedback, headers=headers) as told:
                    assert told.status == status
            bob = {"authorization": "bearer key-of-bob"}
            first = asyncio.create_task(bench.post(headers=bob, stream=True, script={"silent": 0.3}))
            await until(lambda: bench.gateway.running == 1)
            assert (await bench.post(headers=bob)).status == 429
            assert (await first).status == 200
            carol = {"authorization": "Bearer key-of-carol"}
            assert [(await bench.post(headers=carol)).status for _ in range(3)] == [200, 200, 429]
            told = caplog.text + (tmp_path / "records" / "requests.jsonl").read_text()
            assert not [key for key in ("key-of-alice", "key-of-bob", "upstream-secret") if key in told]

    run(test)


def test_a_changed_key_file_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    ring = Keyring(path)
    alice = {"headers": [(b"authorization", b"Bearer key-of-alice")]}
    client = ring.client(alice)
    key_file(tmp_path, "  - {name: dave, sha256: " + hashlib.sha256(b"key-of-dave").hexdigest() + "}")
    assert ring.reload()
    assert ring.client(alice) is client
    assert ring.client({"headers": [(b"authorization", b"Bearer key-of-dave")]}).key.name == "dave"
    for broken in ("keys: 7\n", "keys: [", "\xff", "keys: [{name: a, sha256: short}]\n"):
        path.write_text(broken, encoding="latin-1")
        with pytest.raises(InputError):
            ring.reload()
    assert ring.client(alice) is client


def test_other_machines_are_served_with_keys_only(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "example.com", "::"):
        with pytest.raises(InputError, match="QUANTPLAY_GATEWAY_KEYS"):
            require_keys(host, None)
        require_keys(host, key_file(tmp_path))
    for host in ("127.0.0.1", "::1", "localhost"):
        require_keys(host, None)
    with pytest.raises(Refused):
        Keyring(None).client({"client": ("192.0.2.1", 5), "headers": []})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
spaces = st.text(" \t\r\n", max_size=3)


@given(st.dictionaries(st.text(), values), st.booleans(), spaces, spaces)
def test_every_object_is_read_as_the_standard_library_reads_it(
    fields: dict[str, Any], ascii_only: bool, before: str, between: str
) -> None:
    text = before + json.dumps(fields, ensure_ascii=ascii_only, separators=("," + between, between + ":")) + between
    found, spans, whole = read_fields(text.encode("utf-8", "surrogatepass"))
    assert found == fields
    assert {name: json.loads(whole[slice(*span)]) for name, span in spans.items()} == fields


@given(st.binary() | st.text().map(str.encode) | st.sampled_from(list(BODIES.values())).map(lambda b: b + b"}"))
def test_whatever_bytes_come_they_are_refused_or_understood(body: bytes) -> None:
    for operation in ("chat", "text_completion"):
        with contextlib.suppress(Refused):
            asked = understand(body, operation)
            assert json.loads(asked.body_for("x")) == {**json.loads(body), "model": "x"}
