"""The users: they ask through the gateway as any client would, read, and react. What they got is counted here, apart from the gateway."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quantplay.harness.server_command import body_of
from quantplay.live.show.traffic import Conversation, Turn, reaction, right

if TYPE_CHECKING:
    import aiohttp

AT_ONCE = 48  # users who wait for an answer; who comes later stands in line
ANSWER_SECONDS = 60.0
Phase = str  # of the story, such as "before the swap"


@dataclass(kw_only=True)
class Tally:
    """Answers as users had them."""

    requests: int = 0
    failed: int = 0  # no answer, or half of one
    conversations: int = 0
    right: Counter[tuple[Phase, str]] = field(default_factory=Counter)  # phase, arm that answered -> right answers
    asked: Counter[tuple[Phase, str]] = field(default_factory=Counter)

    def share_right(self, phase: Phase, arm: str) -> float | None:
        asked = self.asked[phase, arm]
        return self.right[phase, arm] / asked if asked else None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer; `text` is None where there was none, or half of one."""

    id: str
    text: str | None
    served: str
    revision: str  # of the policy it was answered by


@dataclass(kw_only=True)
class Users:
    """Everybody who asks. `phase` is set from outside as the story goes on."""

    session: aiohttp.ClientSession
    url: str
    model: str
    max_tokens: int
    stop: tuple[str, ...]
    phase: Phase = "before the swap"
    tally: Tally = field(default_factory=Tally)

    async def come(self, arrivals: Iterator[Conversation]) -> None:
        """Until cancelled; those who are being answered are waited for."""
        clock = asyncio.get_running_loop().time
        began, places, running = clock(), asyncio.Semaphore(AT_ONCE), set[asyncio.Task[None]]()
        try:
            for one in arrivals:
                await asyncio.sleep(began + one.at - clock())
                await places.acquire()
                task = asyncio.create_task(self.talk(one))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: places.release())
        finally:
            await asyncio.gather(*running, return_exceptions=True)

    async def talk(self, conversation: Conversation) -> None:
        self.tally.conversations += 1
        for turn in conversation.turns:
            phase = self.phase
            answer = await self.ask(conversation.id, turn)
            self.tally.requests += 1
            if answer.text is None:
                self.tally.failed += 1
                return
            self.tally.asked[phase, answer.served] += 1
            self.tally.right[phase, answer.served] += right(turn.item, answer.text)
            said = reaction(turn, answer.text)
            if said is not None:
                await self.say(answer.id, said)

    async def ask(self, conversation: str, turn: Turn) -> Answer:
        import aiohttp

        body = {
            "model": self.model, "prompt": turn.item.prompt, "max_tokens": self.max_tokens, "stop": list(self.stop),
            "stream": turn.stream, **body_of("llama.cpp-server"),
        }  # fmt: skip
        try:
            async with self.session.post(
                f"{self.url}/completions", json=body, headers={"x-conversation-id": conversation}
            ) as answer:
                got = await answer.read()
                text = (streamed if turn.stream else whole)(got) if answer.status == 200 else None
                told = {
                    name: answer.headers.get(f"x-quantplay-{name}", "")
                    for name in ("response-id", "served", "revision")
                }
                return Answer(id=told["response-id"], text=text, served=told["served"], revision=told["revision"])
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Answer(id="", text=None, served="", revision="")

    async def say(self, response: str, signal: str) -> None:
        import aiohttp

        try:
            async with self.session.post(f"{self.url}/feedback", json={"id": response, "signal": signal}) as answer:
                self.tally.failed += answer.status != 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.tally.failed += 1


def whole(got: bytes) -> str | None:
    try:
        return plain(json.loads(got)["choices"][0]["text"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def streamed(got: bytes) -> str | None:
    """The text of a stream that came to its end."""
    texts: list[Any] = []
    for line in got.decode("utf-8", "replace").splitlines():
        if line == "data: [DONE]":
            return plain("".join(texts))
        if line.startswith("data: "):
            try:
                texts += [choice["text"] for choice in json.loads(line[6:]).get("choices", ())]
            except (ValueError, KeyError, TypeError, AttributeError):
                return None
    return None


def plain(text: str) -> str:
    """Without the space that SentencePiece writes into the first word."""
    return text.removeprefix(" ")
