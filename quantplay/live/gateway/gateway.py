"""The parts of one gateway, and how they start and end together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from quantplay.errors import InputError
from quantplay.live.gateway.answers import Refused
from quantplay.live.gateway.arms import ArmChecks, Standing
from quantplay.live.gateway.elsewhere import Elsewhere
from quantplay.live.gateway.follow import Follower
from quantplay.live.gateway.keys import Keyring
from quantplay.live.gateway.limits import Limits
from quantplay.live.gateway.ports import Others, PolicySource, Sink
from quantplay.live.gateway.table import Table
from quantplay.live.gateway.telemetry import Telemetry
from quantplay.records.traffic import ServedBy, TrafficPolicy

log = logging.getLogger("quantplay.gateway")
IDLE_SECONDS = 3  # below the 5 s after which uvicorn, under vLLM and llama.cpp's server, closes an idle connection
AGAIN_SECONDS = 1.0
READY_SECONDS = 10.0  # at most, until the first policies are there and their arms are checked
KEYS_SECONDS = 5.0


@dataclass(kw_only=True)
class Gateway:
    limits: Limits
    keyring: Keyring
    table: Table
    checks: ArmChecks
    follower: Follower
    telemetry: Telemetry
    elsewhere: Elsewhere
    session: aiohttp.ClientSession
    running: int = 0  # requests at this moment

    @contextmanager
    def admitted(self) -> Iterator[None]:
        if self.running >= self.limits.concurrent:
            raise Refused(429, "overloaded", "too many requests at once, try again", retry_after=1)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def standings(self, policy: TrafficPolicy) -> dict[ServedBy, Standing]:
        """Of the arms of a policy that is in force now."""
        found: dict[ServedBy, Standing] = {"full_precision": self.checks.of(policy.full_precision)}
        if policy.quantized is not None:
            found["quantized"] = self.checks.of(policy.quantized)
        return found

    @property
    def unready(self) -> str | None:
        """Why no request can be answered yet; None where one can."""
        if not self.table.policies:
            return "no policy is known"
        up = [self.standings(policy)["full_precision"].fault is None for policy in self.table.policies.values()]
        return None if any(up) else "no server of full precision serves what it should"


@asynccontextmanager
async def gateway_open(
    source: PolicySource,
    sink: Sink,
    *,
    others: Others | None = None,
    keys: Path | None = None,
    snapshot: Path | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway that follows its policies, checks its arms and flushes its counts until the block ends; then once more."""
    limits = limits or Limits()
    keyring = Keyring(keys)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
    session = aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": "quantplay-gateway"},
    )  # fmt: skip
    async with session:
        table, checks = Table(limits.stale_seconds), ArmChecks(session, limits.check_seconds)
        telemetry = Telemetry(sink, limits)
        elsewhere = Elsewhere(others, telemetry, table, limits)
        follower = Follower(source, table, checks, snapshot)
        follower.restore()
        jobs = (
            follower.run, follower.keep_snapshots, checks.run, telemetry.run, elsewhere.run, elsewhere.beats,
            lambda: watch_keys(keyring),
        )  # fmt: skip
        tasks = [asyncio.create_task(kept_running(job)) for job in jobs]
        try:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    await follower.tried.wait()
                    await checks.settled()
            except TimeoutError:
                log.warning("not all servers could be checked in %g s", READY_SECONDS)
            yield Gateway(
                limits=limits, keyring=keyring, table=table, checks=checks, follower=follower, telemetry=telemetry,
                elsewhere=elsewhere, session=session,
            )  # fmt: skip
        finally:
            for task in [*tasks, *checks.running]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            telemetry.hand_over()
            while telemetry.queue.rows or telemetry.counters.waiting:
                if not await telemetry.flush():
                    log.warning("%d counter rows are lost with this process", len(telemetry.counters.waiting))
                    break


async def kept_running(job: Callable[[], Coroutine[object, object, None]]) -> None:
    """One fault of ours, or of an adapter, must not end a part of the gateway that requests can do without for a second."""
    while True:
        try:
            await job()
            return
        except Exception:
            log.exception("a part of the gateway failed and starts again")
        await asyncio.sleep(AGAIN_SECONDS)


async def watch_keys(keyring: Keyring) -> None:
    fault = None
    while keyring.path is not None:
        await asyncio.sleep(KEYS_SECONDS)
        try:
            if keyring.reload():
                log.warning("%d keys are in force", len(keyring.clients))
            fault = None
        except InputError as error:
            if error.what != fault:
                log.warning("the keys stay as they were: %s", error)
            fault = error.what
