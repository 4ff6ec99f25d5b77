"""The page of operators as the gateway answers it: what this process knows, and what the database remembers where it can be read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from quantplay.errors import QuantplayError
from quantplay.live.gateway.gateway import Gateway
from quantplay.live.gateway.history import History, Remembered
from quantplay.live.gateway.page import ARMS, Endpoint, Served, rendered
from quantplay.records.traffic import TrafficPolicy

log = logging.getLogger("quantplay.gateway")
PATIENCE_SECONDS = 2.0  # for the database, a page
SAME_SECONDS = 3.0  # that one page is good for everybody


class Page:
    """Answers GET /. One read of the database and one drawing at a time, both in threads: requests of clients wait for neither."""

    def __init__(self, gateway: Gateway, history: History | None) -> None:
        self.gateway, self.history = gateway, history
        self.reading: asyncio.Task[Mapping[str, Remembered]] | None = None
        self.drawing = asyncio.Lock()
        self.drawn: tuple[float, str] = (float("-inf"), "")

    async def answer(self, _: Request) -> Response:
        async with self.drawing:
            at, page = self.drawn
            if time.monotonic() - at > SAME_SECONDS:
                page = await self.draw()
                self.drawn = (time.monotonic(), page)
        return Response(page, media_type="text/html; charset=utf-8", headers={"cache-control": "no-store"})

    async def draw(self) -> str:
        policies = sorted(self.gateway.table.policies.values(), key=lambda one: one.endpoint)
        endpoints, (remembered, fault) = [self.known(one) for one in policies], await self.remembered(policies)
        faults = [*self.faults(), *([fault] if fault else [])]
        return await asyncio.to_thread(
            rendered, endpoints, remembered, faults, now=time.time(), judged=self.history is not None
        )

    def known(self, policy: TrafficPolicy) -> Endpoint:
        """What this process knows by itself."""
        standings, totals = self.gateway.standings(policy), self.gateway.telemetry.counters.totals
        share = {"quantized": policy.share, "full_precision": 1 - policy.share}
        return Endpoint(
            policy=policy,
            arms=tuple(
                Served(
                    name=name, url=standings[arm].arm.url, model=standings[arm].arm.model, fault=standings[arm].fault,
                    share=share[arm], conversations=totals.get((policy.endpoint, arm, "conversations"), 0),
                )
                for arm, name in ARMS if arm in standings
            ),
            counts={(arm, name): count for (endpoint, arm, name), count in totals.items() if endpoint == policy.endpoint},
        )  # fmt: skip

    def faults(self) -> list[str]:
        gateway = self.gateway
        found = [
            f"Policies can't be read, the last ones stay in force: {gateway.follower.fault}." if gateway.follower.fault else "",
            "No policy was confirmed for so long that everybody has full precision." if gateway.table.policies and gateway.table.stale else "",
            f"Counts wait here, they can't be written: {gateway.telemetry.fault}." if gateway.telemetry.fault else "",
            f"No request can be answered: {gateway.unready}." if gateway.unready else "",
        ]  # fmt: skip
        return [one for one in found if one]

    async def remembered(self, policies: list[TrafficPolicy]) -> tuple[Mapping[str, Remembered], str]:
        """By endpoint, and why it is missing. A read that takes long goes on; the next page looks whether it is there."""
        history = self.history
        if history is None or not policies:
            return {}, ""

        def read() -> Mapping[str, Remembered]:
            return {one.endpoint: history.read(one.endpoint, one.revision) for one in policies}

        if self.reading is None:
            self.reading = asyncio.create_task(asyncio.to_thread(read))
            self.reading.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may come for it
        done, _ = await asyncio.wait({self.reading}, timeout=PATIENCE_SECONDS)
        if not done:
            return (
                {},
                f"The database has not answered for {PATIENCE_SECONDS:g} s, so what the judge said is missing here. Requests do not need it.",
            )
        task, self.reading = self.reading, None
        try:
            return task.result(), ""
        except QuantplayError as error:
            return (
                {},
                f"The database can't be read, so what the judge said is missing here: {error.what}. Requests do not need it.",
            )
        except Exception as error:
            log.exception("the page could not be read from the database")
            return {}, f"What the judge said can't be shown: {type(error).__name__}; the gateway's log says more."
