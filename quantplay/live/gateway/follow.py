"""Policies from their source into the table, and a snapshot of them on the disk for the next start."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from quantplay.errors import InputError, OutOfSpace, ServiceUnavailable
from quantplay.live.gateway.arms import ArmChecks
from quantplay.live.gateway.files import read_policies, write_policies
from quantplay.live.gateway.ports import PolicySource
from quantplay.live.gateway.table import Table

log = logging.getLogger("quantplay.gateway")
FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0
SNAPSHOT_SECONDS = 60.0  # how old the confirmation in the snapshot may be


class Follower:
    def __init__(self, source: PolicySource, table: Table, checks: ArmChecks, snapshot: Path | None) -> None:
        self.source, self.table, self.checks, self.snapshot = source, table, checks, snapshot
        self.tried = asyncio.Event()  # set once the source has answered or failed
        self.due = asyncio.Event()  # a snapshot is to be written
        self.written_at = float("-inf")
        self.fault: str | None = None  # why the source can't be read just now

    def restore(self) -> None:
        """Begin with the last snapshot; as old as it is, so a stale one serves full precision only."""
        if self.snapshot is None:
            return
        try:
            found = read_policies(self.snapshot)
        except ServiceUnavailable:
            return
        except InputError as error:
            log.warning("the snapshot is left out: %s", error.what)
            return
        # A time to come is a clock that was set back: then nothing is known about its age.
        age = time.time() - (found.confirmed or 0)
        self.table.apply(found.policies, age=age if age >= 0 else float("inf"))
        self.checks.keep(self.table.arms())

    async def run(self) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                async for policies in self.source.policies():
                    if self.fault is not None:
                        log.warning("policies can be read again")
                    self.fault, wait = None, FIRST_WAIT
                    changed = self.table.apply(policies)
                    if changed:
                        self.checks.keep(self.table.arms())
                    if changed or time.monotonic() - self.written_at > SNAPSHOT_SECONDS:
                        self.due.set()
                    self.tried.set()
            except (ServiceUnavailable, InputError) as error:
                if self.fault is None:
                    log.warning("policies can't be read, the last ones stay in force: %s", error)
                self.fault = error.what
            self.tried.set()
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def keep_snapshots(self) -> None:
        """Apart from reading: a slow disk must not hold up a rollback."""
        while self.snapshot is not None:
            await self.due.wait()
            self.due.clear()
            try:
                await asyncio.to_thread(write_policies, self.snapshot, self.table.policies.values(), time.time())
                self.written_at = time.monotonic()
            except (OSError, InputError, OutOfSpace) as error:
                log.warning("the snapshot of the policies can't be written: %s", error)
