"""Release, traffic, looks of the judge, swap, rollback: the order of the show. What the judge says is its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from quantplay.digest import digest_of_file
from quantplay.errors import IntegrityError, ServiceUnavailable
from quantplay.evalset import EvalItem
from quantplay.harness.server import Server
from quantplay.live.release import release, revision_of
from quantplay.live.release_check import Facts
from quantplay.live.show import servers
from quantplay.live.show.address import Address, address_of
from quantplay.live.show.damage import spoil
from quantplay.live.show.story import AFTER, ENDPOINT, SPOILED, Mark, Moment, Story
from quantplay.live.show.traffic import Turn, conversations
from quantplay.live.show.users import ANSWER_SECONDS, Users
from quantplay.live.tick import look
from quantplay.records.rollback_rules import RollbackRules
from quantplay.records.traffic import ServedArm
from quantplay.store.registry import Store

if TYPE_CHECKING:
    import aiohttp

ACTOR = "quantplay pilot"
STEPS = (0.05, 0.25, 0.5)
SLOW, SLOW_FIRST = (
    10,
    0.2,
)  # conversations a second below which the first share is larger, or the ramp would take all the time
RULES = RollbackRules(
    min_conversations=40, negligible=0.12, promotion_margin=2, max_decode_slowdown=5, ceilings={"error": 0.05}
)
"""As large as it takes to decide within minutes on some conversations a second; docs/live-judge.md tells the usual ones."""
WARM_UP = 24  # answers, to see how fast this machine is


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast the show goes."""

    seed: int = 0
    most: float = 25  # conversations a second, as far as this machine can answer them
    load: float = 0.5  # share of what one server can answer
    look_seconds: float = 3
    sound_seconds: float = 10  # at the last step, before the swap
    ramp_seconds: float = 150  # after which the swap comes wherever the ramp stands
    spoiled_seconds: float = 90  # for the judge to find it
    after_seconds: float = 15  # of the traffic that is whole again


@dataclass(frozen=True, kw_only=True)
class Cast:
    """What is needed: a package that may be released, both models, what users ask."""

    facts: Facts
    quantized: Path
    full_precision: Path
    items: Sequence[EvalItem]
    max_tokens: int
    stop: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """A server that ends before the show does."""

    server: Server
    end: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Everything that runs."""

    full: Server
    sound: Replaced
    spoiled: Server
    front: servers.Front


@dataclass(frozen=True, kw_only=True)
class Show:
    """What every part of it needs. `say` gets lines for people, `watch` the story after every look."""

    store: Store
    cast: Cast
    say: Callable[[str], None]
    watch: Callable[[Story], None]
    pace: Pace = Pace()

    def play(self) -> Story:
        """From the first server to the last; every process it started has ended when it returns or raises.

        Raises ChildProcessFailed or ServiceUnavailable where a server does not start, IntegrityError where a file is not the package's.
        """
        cast, facts = self.cast, self.cast.facts
        for path, digest in ((cast.quantized, facts.artifact), (cast.full_precision, facts.full_precision)):
            if digest_of_file(path) != digest:
                raise IntegrityError(
                    "this is not the package's file", value=path, allowed=digest, fix="quantplay pilot"
                )
        with TemporaryDirectory(prefix="quantplay-live-") as folder, ExitStack() as stack:
            damaged = Path(folder) / "damaged.gguf"
            spoil(cast.quantized, damaged, seed=self.pace.seed)
            self.say("starting llama.cpp's server of full precision")
            full = stack.enter_context(servers.arm(cast.full_precision, f"pilot-{facts.full_precision[:8]}"))
            self.say(f"starting llama.cpp's server of {facts.type}")
            alias, replaced = f"pilot-{facts.artifact[:8]}", stack.enter_context(ExitStack())
            sound = Replaced(server=replaced.enter_context(servers.arm(cast.quantized, alias)), end=replaced.close)
            self.say("starting a third one with a damaged model, which waits for its moment")
            spoiled = stack.enter_context(servers.arm(damaged, alias))
            self.say("starting the gateway in front of them")
            front = stack.enter_context(servers.gateway())
            return asyncio.run(self.perform(Stage(full=full, sound=sound, spoiled=spoiled, front=front)))

    async def perform(self, stage: Stage) -> Story:
        import aiohttp

        limit = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with (
            address_of(port_of(stage.sound.server)) as address,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limit) as session,
        ):
            rate = min(self.pace.most, self.pace.load / await self.seconds_an_answer(session, stage.full))
            first = STEPS[0] if rate >= SLOW else SLOW_FIRST
            self.say(f"this machine answers {rate:.0f} conversations a second at half its load: so many are asked")
            number = self.released(stage, address, first)
            with taken_back(self.store, number):
                users = self.users(session, stage.front.url, ENDPOINT)
                await confirmed(users, next(conversations(self.cast.items, rate=1, seed=-1)).turns[0], number)
                story = Story(revision=number, admin=stage.front.admin, tally=users.tally, rate=rate, first=first)
                story.marks.append(Mark(at=time.time(), kind="release", words=f"released at {100 * first:g} %"))
                self.say(f"released at {100 * first:g} %; look at it: {stage.front.admin}/")
                arrivals = conversations(self.cast.items, rate=rate, seed=self.pace.seed)
                coming = asyncio.create_task(users.come(arrivals))
                try:
                    await self.ramp(story)
                    if story.rollback is None:
                        await self.swap(story, users, stage, address)
                        await self.found(story, users)
                finally:
                    coming.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await coming
                return story

    def users(self, session: aiohttp.ClientSession, url: str, model: str) -> Users:
        return Users(session=session, url=url, model=model, max_tokens=self.cast.max_tokens, stop=self.cast.stop)

    async def seconds_an_answer(self, session: aiohttp.ClientSession, server: Server) -> float:
        """Of full precision, asked directly, one question after the other."""
        users, asked = self.users(session, server.url, server.alias), conversations(self.cast.items, rate=1, seed=-1)
        turns = [one.turns[0] for one in islice(asked, WARM_UP + 4)]
        for turn in turns[:4]:  # what is loaded at the first question
            await users.ask("warm-up", turn)
        began = time.monotonic()
        for turn in turns[4:]:
            await users.ask("warm-up", turn)
        return (time.monotonic() - began) / WARM_UP

    def released(self, stage: Stage, address: Address, first: float) -> int:
        facts, full, sound = self.cast.facts, stage.full, stage.sound.server
        policy = revision_of(
            facts, ENDPOINT, steps=sorted({first, *(step for step in STEPS if step > 2 * first)}),
            full_precision=ServedArm(url=full.url, model=full.alias, artifact=facts.full_precision),
            quantized=ServedArm(url=address.url, model=sound.alias, artifact=facts.artifact),
        ).model_copy(update={"rules": RULES})  # fmt: skip
        return release(self.store, policy, weight=first, actor=ACTOR, reason="the pilot's package, live")[0]

    async def looked(self, story: Story) -> Moment:
        """One look of the judge, and what it saw."""

        def once() -> Moment:
            # Gateways hand their counts over once a second: what is read now is how it stood a second ago.
            seen = look(self.store, ENDPOINT, int(time.time()) - 1)
            (policy,) = self.store.traffic_policies(ENDPOINT)
            return Moment(
                at=time.time(), share=policy.share, counts=self.store.live_totals(ENDPOINT, story.revision),
                verdict=seen.verdict if seen else None,
            )  # fmt: skip

        moment = await asyncio.to_thread(once)
        before = story.moments[-1].share if story.moments else story.first
        if moment.share > before:
            story.marks.append(Mark(at=moment.at, kind="promotion", words=f"to {100 * moment.share:g} %"))
        elif moment.share == 0 < before:
            story.marks.append(Mark(at=moment.at, kind="rollback", words="rolled back"))
        story.moments.append(moment)
        self.watch(story)
        return moment

    async def ramp(self, story: Story) -> None:
        """Until the judge has given the last share and some time went by, or the time for it is over."""
        ends, top = time.monotonic() + self.pace.ramp_seconds, None
        await asyncio.sleep(2)  # the judge's first look has to come after the release
        while time.monotonic() < (ends if top is None else top + self.pace.sound_seconds):
            share = (await self.looked(story)).share
            if share == 0:
                return
            if top is None and share >= STEPS[-1]:
                top = time.monotonic()
            await asyncio.sleep(self.pace.look_seconds)

    async def swap(self, story: Story, users: Users, stage: Stage, address: Address) -> None:
        """The damaged model takes the address; the sound one ends when it has answered what it was asked."""
        address.behind = port_of(stage.spoiled)
        users.phase = SPOILED
        story.marks.append(Mark(at=time.time(), kind="swap", words="damaged model swapped in"))
        self.say(
            "swap: a damaged model answers at the quantized model's address now, under its name; nobody tells the judge"
        )
        await asyncio.to_thread(stage.sound.end)

    async def found(self, story: Story, users: Users) -> None:
        """Until the judge has taken it back and the traffic after that was seen, or the time for it is over."""
        ends = time.monotonic() + self.pace.spoiled_seconds
        while time.monotonic() < ends:
            if (await self.looked(story)).share == 0 and users.phase != AFTER:
                users.phase, ends = AFTER, time.monotonic() + self.pace.after_seconds
            await asyncio.sleep(self.pace.look_seconds)


@contextmanager
def taken_back(store: Store, revision: int) -> Iterator[None]:
    """However it ends, nobody is sent to servers that are gone."""
    try:
        yield
    finally:
        store.roll_back(ENDPOINT, actor=ACTOR, reason="the show is over", revision=revision)


async def confirmed(users: Users, turn: Turn, revision: int) -> None:
    """Until the gateway answers by this revision. Raises ServiceUnavailable where that does not come."""
    ends = time.monotonic() + servers.START_SECONDS
    while (answer := await users.ask("the first", turn)).text is None or answer.revision != str(revision):
        if time.monotonic() > ends:
            raise ServiceUnavailable("the gateway can't reach the servers it was told of", value=users.url)
        await asyncio.sleep(0.2)


def port_of(server: Server) -> int:
    return int(server.url.removesuffix("/v1").rpartition(":")[2])
