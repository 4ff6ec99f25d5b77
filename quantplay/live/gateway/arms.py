"""Does each arm's server serve what it should? Asked before it gets traffic, and again all the time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from quantplay.errors import InputError
from quantplay.records.traffic import ServedArm
from quantplay.settings import read_secret

log = logging.getLogger("quantplay.gateway")
CHECK = aiohttp.ClientTimeout(total=5)
MOST_BYTES = 2**20  # of a list of models


Identity = tuple[str | None, ...]


def identity(arm: ServedArm) -> Identity:
    return (arm.url, arm.model, arm.artifact, arm.build, arm.api_key_env)


@dataclass(kw_only=True)
class Standing:
    """What is known of one arm."""

    arm: ServedArm
    known: asyncio.Event = field(default_factory=asyncio.Event)  # set by the first check
    fault: str | None = "not checked yet"
    silent: int = 0  # checks in a row without an answer
    authorization: str | None = None


class Silent(Exception):
    """No usable answer: may be over in a moment."""


class ArmChecks:
    """Standings of the arms in force."""

    def __init__(self, session: aiohttp.ClientSession, seconds: float) -> None:
        self.session, self.seconds = session, seconds
        self.standings: dict[Identity, Standing] = {}
        self.running: set[asyncio.Task[None]] = set()

    def keep(self, arms: Iterable[ServedArm]) -> None:
        """From now on these arms; new ones are checked at once."""
        wanted = {identity(arm): arm for arm in arms}
        new = wanted.keys() - self.standings.keys()
        self.standings = {key: self.standings.get(key) or Standing(arm=arm) for key, arm in wanted.items()}
        for key in new:
            task = asyncio.get_running_loop().create_task(self.look(self.standings[key]))
            self.running.add(task)
            task.add_done_callback(self.running.discard)

    async def settled(self) -> None:
        """Until every arm was checked once."""
        await asyncio.gather(*(standing.known.wait() for standing in self.standings.values()))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.seconds)
            await asyncio.gather(*(self.look(standing) for standing in self.standings.values()))

    def of(self, arm: ServedArm) -> Standing:
        """Of an arm in force."""
        return self.standings[identity(arm)]

    async def look(self, standing: Standing) -> None:
        arm, before = standing.arm, standing.fault
        try:
            key = read_secret(arm.api_key_env) if arm.api_key_env else None
            if arm.api_key_env and key is None:
                raise InputError(f"the variable {arm.api_key_env} with its key is not set")
            standing.authorization = f"Bearer {key}" if key else None
            standing.fault = await self.fault_of(arm, standing.authorization)
            standing.silent = 0
        except InputError as error:
            standing.fault = error.what
        except Silent as error:
            standing.silent += 1
            # One lost answer of a good arm is no reason to leave it: requests that fail go to full precision anyhow.
            if before is not None or standing.silent > 1:
                standing.fault = str(error)
        standing.known.set()
        if standing.fault != before:
            log.warning("%s of %s: %s", arm.model, arm.url, standing.fault or "serves what it should")

    async def fault_of(self, arm: ServedArm, authorization: str | None) -> str | None:
        """Why this server must not answer for `arm`; None where it may. Raises Silent."""
        listed = await self.told(f"{arm.url}/models", authorization)
        entries = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(entries, list):
            raise Silent("its list of models can't be read")
        entry = next((one for one in entries if isinstance(one, dict) and one.get("id") == arm.model), None)
        if entry is None:
            names = ", ".join(str(one.get("id")) for one in entries if isinstance(one, dict))[:200]
            return f"serves {names or 'no model'} instead"
        artifact = next((entry[name] for name in ("artifact", "sha256", "digest") if entry.get(name)), arm.artifact)
        if str(artifact).removeprefix("sha256:") != arm.artifact:
            return f"serves artifact {str(artifact)[:80]} instead of {arm.artifact}"
        if arm.build is not None:
            build = entry.get("build") or await self.build_of(arm, authorization)
            if build is not None and build != arm.build:
                return f"runs build {str(build)[:80]} instead of {arm.build}"
        return None

    async def build_of(self, arm: ServedArm, authorization: str | None) -> str | None:
        """As llama.cpp's server (/props) or vLLM (/version) tells it; None where the server tells none."""
        root = arm.url.removesuffix("/v1")
        for path, name in (("/props", "build_info"), ("/version", "version")):
            try:
                told = await self.told(root + path, authorization)
            except Silent:
                continue
            if isinstance(told, dict) and told.get(name):
                return str(told[name])
        return None

    async def told(self, url: str, authorization: str | None) -> Any:
        headers = {"authorization": authorization} if authorization else {}
        try:
            async with self.session.get(url, headers=headers, timeout=CHECK, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise Silent(f"answers {url} with status {answer.status}")
                return json.loads(await answer.content.read(MOST_BYTES) if answer.content_length is None
                                  else (await answer.read())[:MOST_BYTES])  # fmt: skip
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Silent(f"no answer from {url}: {str(error) or type(error).__name__}") from None
