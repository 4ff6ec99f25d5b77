"""The page of operators: what it says of an endpoint with and without a database, in a real browser, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from browser import needs_browser, opened_browser, screenshot

from quantplay.errors import ServiceUnavailable
from quantplay.live.gateway import admin
from quantplay.live.gateway.app import admin_app
from quantplay.live.gateway.database import DatabaseSink, DatabaseSource
from quantplay.live.gateway.files import NoSink, PolicyFileSource, write_policies
from quantplay.live.gateway.gateway import gateway_open
from quantplay.live.gateway.history import DatabaseHistory, History, Remembered
from quantplay.live.gateway.ports import PolicySource, Sink
from quantplay.live.gateway.serve import Server, listen
from quantplay.live.release import release
from quantplay.live.tick import look
from quantplay.records.traffic import CounterRow, PolicyRevision, ServedArm, TrafficPolicy
from quantplay.store.registry import Store

NAME = "chat"
ARMS = {
    "full_precision": ServedArm(url="http://127.0.0.1:9/v1", model="full-<b>", artifact="a" * 64),
    "quantized": ServedArm(url="http://127.0.0.1:9/v1", model="small", artifact="b" * 64),
}


@pytest.fixture
def judged(store: Store) -> Store:
    """An endpoint that was released and taken back after some looks."""
    release(
        store, PolicyRevision(endpoint=NAME, package="c" * 64, salt="s", steps=(0.5, 1.0), **ARMS), weight=0.5, actor="a <i>person</i>",
        reason="for the page",
    )  # fmt: skip
    start, draw, sink = int(time.time()), random.Random(3), DatabaseSink(open=lambda: store)
    for minute in range(1, 60):
        rows = [
            counted(minute, arm, name, value)
            for arm, bad in (("quantized", 0.2 if minute > 8 else 0.02), ("full_precision", 0.02))
            for name, value in (("conversations", 60), ("thumbs_down", sum(draw.random() < bad for _ in range(60))))
        ]
        asyncio.run(sink.write(rows, []))
        seen = look(store, NAME, start + 60 * minute)
        assert seen is not None
        if seen.verdict.action == "rollback":
            return store
    raise AssertionError


def counted(minute: int, arm: str, name: str, value: int) -> CounterRow:
    told = {"source": "00000000-0000-0000-0000-000000000007", "endpoint": NAME, "revision": 1, "minute": minute}
    return CounterRow.model_validate(told | {"arm": arm, "name": name, "value": value})


@asynccontextmanager
async def page_of(source: PolicySource, sink: Sink, history: History | None) -> AsyncIterator[str]:
    """The address of the admin port of a gateway."""
    async with gateway_open(source, sink) as gateway:
        place = listen("127.0.0.1", 0)
        config = uvicorn.Config(admin_app(gateway, history), loop="asyncio", ws="none", lifespan="off", log_config=None)
        server = Server(config)
        serving = asyncio.create_task(server.serve(sockets=[place]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@contextmanager
def in_a_thread(source: PolicySource, sink: Sink, history: History | None) -> Iterator[str]:
    """The same for a browser that blocks."""
    found: list[str] = []
    up, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with page_of(source, sink, history) as url:
            found.append(url)
            up.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(30)
        yield found[0]
    finally:
        over.set()
        thread.join()


async def text_of(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return await answer.text()


def test_it_tells_who_answers_what_the_judge_said_and_why(judged: Store) -> None:
    async def test() -> None:
        source, sink = DatabaseSource(open=lambda: judged), DatabaseSink(open=lambda: judged)
        async with page_of(source, sink, DatabaseHistory(open=lambda: judged)) as url:
            text = await text_of(url)
            assert "Everybody has full precision: the quantized model was taken back." in text
            assert "The judge took it back. Thumbs-down: " in text
            assert "Evidence against the quantized model" in text
            assert text.count("<polyline") == 4  # thumbs-down, and its ceiling: two detectors each
            assert 'class="bad"' in text  # the detector at its threshold
            assert "a &lt;i&gt;person&lt;/i&gt;" in text  # nothing that somebody wrote becomes markup
            assert "full-&lt;b&gt;" in text
            assert "no: no answer from" in text  # nobody listens there
            assert "<script" not in text

    asyncio.run(test())


def test_verdicts_are_thinned_out_evenly_with_the_newest_among_them(judged: Store) -> None:
    everything = judged.judgements(NAME, 1)
    few = judged.judgements(NAME, 1, most=5)
    assert len(few) <= 5
    assert few[-1] == everything[-1]
    assert list(few) == [one for one in everything if one in few]
    assert judged.judgements(NAME, 1, most=1000) == everything


class Stuck:
    """A database that answers when it is told to."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def read(self, endpoint: str, revision: int) -> Remembered:
        assert self.let_go.wait(60)
        return Remembered()


class Away:
    def read(self, endpoint: str, revision: int) -> Remembered:
        raise ServiceUnavailable("the database does not answer")


def file_of(folder: Path) -> PolicyFileSource:
    policy = TrafficPolicy(endpoint=NAME, revision=1, version=1, state="canary", weight=0.25, salt="s", **ARMS)
    write_policies(folder / "policies.json", [policy])
    return PolicyFileSource(path=folder / "policies.json")


def test_nobody_waits_for_a_database_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(admin, "SAME_SECONDS", 0.0)
    stuck = Stuck()

    async def test() -> None:
        async with page_of(file_of(tmp_path), NoSink(), stuck) as url:
            page = asyncio.create_task(text_of(url))
            async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as answer:
                assert answer.status == 200
                assert not page.done()
            text = await page
            assert "The database has not answered for 0.5 s" in text
            assert "The quantized model answers 25 % of conversations; full precision answers the others." in text
            stuck.let_go.set()
            assert "The database has not answered" not in await text_of(url)

    try:
        asyncio.run(test())
    finally:
        stuck.let_go.set()


def test_it_says_that_the_database_is_away(tmp_path: Path) -> None:
    async def test() -> None:
        async with page_of(file_of(tmp_path), NoSink(), Away()) as url:
            text = await text_of(url)
            assert "The database can&#39;t be read" in text
            assert "below is what this process counted" in text
            assert "downstream errors" in text

    asyncio.run(test())


def test_with_policies_from_a_file_it_says_what_it_can(tmp_path: Path) -> None:
    async def test() -> None:
        async with page_of(file_of(tmp_path), NoSink(), None) as url:
            text = await text_of(url)
            assert "Policies come from a file, so no judge looks at this endpoint" in text
            assert "Counted by this process since it began" in text

    asyncio.run(test())


@needs_browser
@pytest.mark.slow
def test_it_fits_a_desk_and_a_phone(judged: Store, tmp_path: Path) -> None:
    source, sink = DatabaseSource(open=lambda: judged), DatabaseSink(open=lambda: judged)
    with in_a_thread(source, sink, DatabaseHistory(open=lambda: judged)) as url, opened_browser() as page:
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(url)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("polyline").count() == 4
            screenshot(page, f"gateway-page-{width}", tmp_path)
        assert said == []  # the policy for contents blocks nothing of the page itself
