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
from quantplay.errors import IntegrityError
from quantplay.plan import Plan
from quantplay.plan_file import read_plan
from quantplay.plays.pin import Paths, Pinned, locate, require_unchanged
from quantplay.records import Digest, Fingerprint, Inputs, Record
from quantplay.settings import Settings, settings
from quantplay.store.artifacts import ArtifactStore
from quantplay.store.registry import Store, open_store
from tasks.progress import announce

T = TypeVar("T", bound=Record)
PATIENCE_SECONDS = 180.0  # for a database that goes away: hours of measuring are worth waiting for its restart


class RunRef(Record):
    """What passes between tasks: which run, whose plan, which inputs. Small, and no secret in it."""

    run: str  # id of the row in `runs`
    plan_path: str
    plan: Digest
    inputs: Inputs

    @property
    def id(self) -> UUID:
        return UUID(self.run)

    def read(self) -> Plan:
        """The plan. Raises IntegrityError when the file is no longer the one the run was opened with."""
        plan = read_plan(Path(self.plan_path))
        if plan.digest() != self.plan:
            raise IntegrityError(
                f"{self.plan_path} was edited while its run was under way",
                value=plan.digest(),
                allowed=self.plan,
                fix="start a new run: a gate is frozen before any result exists",
            )
        return plan

    def paths(self) -> Paths:
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


def once(
    run: RunRef,
    play: str,
    key: Digest,
    *,
    find: Callable[[Digest], T | None],
    make: Callable[[], T],
    put: Callable[[Digest, T], None],
) -> T:
    """The record under `key`: found in the product database, or made and recorded, never made twice.

    A second run of the same work waits for the first and then finds its result.
    """
    store = workbench().store
    started = time.monotonic()
    reused = True
    record = find(key)
    if record is None:
        with store.run_lock(key, on_wait=lambda: announce(play, "waiting for another run that does the same work")):
            record = find(key)
            if record is None:
                announce(play, "started")
                made = make()
                # A database that restarts meanwhile forgets the lock: another run may have been faster. Its result stays.
                record = find(key)
                if record is None:
                    put(key, made)
                    record = made
                reused = record != made
    seconds = time.monotonic() - started
    store.record_play(run.id, play=play, key=key, reused=reused, seconds=round(seconds, 3))
    if not reused:
        store.append_event("quantplay", "play.done", key, {"run": run.run, "play": play})
    announce(play, "reused" if reused else "done")
    return record
