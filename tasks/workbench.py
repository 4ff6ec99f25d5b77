"""What every task needs: the store, the artifacts, the run it belongs to, and the rule "look up before doing"."""

from __future__ import annotations

import atexit
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from quantplay.engines.scratch import claim_scratch
from quantplay.envelope.hardware import measure_fingerprint
from quantplay.errors import InputError, IntegrityError
from quantplay.plan import Plan
from quantplay.plan_file import read_plan
from quantplay.plays.pin import Paths, Pinned, locate, require_unchanged
from quantplay.records import Digest, Fingerprint, Inputs, Record
from quantplay.settings import Settings, settings
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.registry import Store, open_store
from tasks.inputs import materialised
from tasks.progress import announce

T = TypeVar("T", bound=Record)
PATIENCE_SECONDS = 180.0  # for a database that goes away: hours of measuring are worth waiting for its restart


class RunRef(Record):
    """What passes between tasks: which run, whose plan, which inputs. Small, and no secret in it."""

    later = frozenset({"sent"})

    run: str  # id of the row in `runs`
    plan_path: str
    plan: Digest
    inputs: Inputs
    sent: bool = False  # to another machine perhaps: plan and inputs are read from database and artifact store

    @property
    def id(self) -> UUID:
        return UUID(self.run)

    @property
    def is_away(self) -> bool:
        """Whether this machine has no plan file and no inputs of its own."""
        return self.sent or not Path(self.plan_path).exists()

    def read(self) -> Plan:
        """The plan. Raises IntegrityError when the file is no longer the one the run was opened with."""
        if self.is_away:
            return self.stored_plan()
        plan = read_plan(Path(self.plan_path))
        if plan.digest() != self.plan:
            raise IntegrityError(
                f"{self.plan_path} was edited while its run was under way",
                value=plan.digest(),
                allowed=self.plan,
                fix="start a new run: a gate is frozen before any result exists",
            )
        return plan

    def stored_plan(self) -> Plan:
        """The plan as the product database keeps it. Raises InputError where that database has never seen it."""
        store = workbench().store
        plan = store.get_plan(self.plan)
        if plan is None:
            raise InputError(
                f"{self.plan_path} is not on this machine, and its plan is not in the product database", value=store.where,
                fix="give whoever sends the work and every worker the same QUANTPLAY_DATABASE_URL",
            )  # fmt: skip
        return plan

    def paths(self) -> Paths:
        if self.is_away:
            bench, plan = workbench(), self.stored_plan()
            folder = bench.settings.home / "inputs"
            return materialised(plan, self.inputs, bench.artifacts, folder=folder, scratch=bench.scratch)
        return locate(self.read(), Path(self.plan_path).parent)

    def pinned(self) -> Pinned:
        """Inputs and paths, after a check that the small files are still the ones pinned."""
        plan, paths = self.read(), self.paths()
        require_unchanged(self.inputs, plan, paths)
        return Pinned(inputs=self.inputs, paths=paths)


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """Opened once a process."""

    settings: Settings
    store: Store
    artifacts: ArtifactStore
    fingerprint: Fingerprint

    @property
    def threads(self) -> int:
        return self.settings.threads

    @property
    def importance(self) -> Path:
        """Where importance matrices lie once they are measured."""
        return self.settings.home / "importance"

    @cached_property
    def scratch(self) -> Path:
        """Where files are made before they enter the artifact store; gone with this process."""
        folder = claim_scratch(self.settings.home / "scratch")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


@cache
def workbench() -> Workbench:
    here = settings()
    store = open_store(here, lambda text: announce("database", text), patience_seconds=PATIENCE_SECONDS)
    bench = Workbench(
        settings=here, store=store, artifacts=store.artifacts, fingerprint=measure_fingerprint(here.threads)
    )
    os.environ["TMPDIR"] = str(bench.scratch)  # of child processes: what a killed one leaves is swept with the rest
    return bench


def once(run: RunRef, play: str, key: Digest, *, find: Callable[[Digest], T | None], make: Callable[[], T]) -> T:
    """The record under `key`: found in the product database, or made and recorded, never made twice.

    A second run of the same work waits for the first and then finds its result. Record, row of the run and event are one
    transaction: a play is done with all of them, or it is not.
    """
    store = workbench().store
    started = time.monotonic()

    def settle(record: T, *, reused: bool) -> T:
        seconds = round(time.monotonic() - started, 3)
        settled = store.settle(run.id, play=play, key=key, record=record, reused=reused, seconds=seconds)
        announce(play, "reused" if reused or settled != record else "done")
        return settled

    def wait() -> None:
        announce(play, "waiting for another run that does the same work")

    record = find(key)
    if record is None:
        with store.hold(key, on_wait=wait) as lock:
            record = find(key)
            if record is None:
                announce(play, "started")
                made = make()
                # A database that restarted meanwhile may have given the lock to another run; then its result stays.
                store.secure(lock, on_wait=wait)
                return settle(made, reused=False)
    return settle(record, reused=True)
