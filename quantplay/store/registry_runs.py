"""The Store: runs, their plays, and looks at a gate split."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from quantplay.digest import is_digest
from quantplay.errors import InternalError
from quantplay.store import (
    events,
    records,
    runs,
    signoffs,
)
from quantplay.store.database import Database
from quantplay.store.patience import patiently
from quantplay.store.records import R
from quantplay.store.runs import Attempt, Run


class RunRegistry(Database):
    """Runs and attempts."""

    def start_run(
        self,
        *,
        plan: str,
        profile: str,
        run: UUID | None = None,
        prefect_flow_run_id: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> UUID:
        """A new run of a stored plan; with the id of an existing run, that one is running again (a resume).

        `body`: of the event that says so, recorded with it.
        """
        # The id is made before the transaction: one that is tried again after its answer was lost must not open a second run.
        identity = run or uuid4()
        self._start_run(identity, plan, profile, prefect_flow_run_id, body)
        return identity

    @patiently
    def _start_run(
        self, run: UUID, plan: str, profile: str, prefect_flow_run_id: str | None, body: Mapping[str, Any] | None
    ) -> None:
        with self._begin() as connection:
            new = runs.start(connection, plan=plan, profile=profile, run=run, prefect_flow_run_id=prefect_flow_run_id)
            if body is not None:
                kind = signoffs.OPENED if new else signoffs.RESUMED
                events.append(connection, "quantplay", kind, str(run), body)

    @patiently
    def record_play(
        self,
        run: UUID,
        *,
        play: str,
        key: str,
        reused: bool,
        seconds: float,
        started_at: datetime | None = None,
        attempt: int = 1,
    ) -> None:
        """Note a finished play of a run; the first note of the same play and key stays."""
        values: dict[str, Any] = {"play": play, "key": key, "reused": reused, "seconds": seconds, "attempt": attempt}
        if started_at is not None:
            values["started_at"] = started_at
        with self._begin() as connection:
            runs.record_play(connection, run, values)

    @patiently
    def settle(
        self,
        run: UUID,
        *,
        play: str,
        key: str,
        record: R,
        reused: bool,
        seconds: float,
    ) -> R:
        """A play is done: its record (unless one is there already), its row of the run and its event, in one transaction.

        Returns what is recorded under `key`: where another process was faster its record stays, and the play counts as reused.
        """
        kind = records.kind_of(record)
        if not is_digest(key):
            raise InternalError(f"the key of a {kind.name} must be a digest", value=key)
        with self._begin() as connection:
            there = record if reused else records.put_or_get(connection, kind, key, record)
            values = {"play": play, "key": key, "reused": reused or there != record, "seconds": seconds, "attempt": 1}
            if runs.record_play(connection, run, values) and not values["reused"]:
                events.append(connection, "quantplay", "play.done", key, {"run": str(run), "play": play})
        return there

    @patiently
    def finish_run(
        self,
        run: UUID,
        *,
        outcome: str | None,
        exit_code: int,
        package: str | None = None,
        left_at: str | None = None,
        state: Literal["finished", "failed", "cancelled"] = "finished",
        event: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """How a run ended; `package` is the key of its package, `left_at` the play whose result ended it, `event` kind and body of the event recorded with it.

        An ending that another process reached meanwhile is not undone.
        """
        with self._begin() as connection:
            done = runs.finish(
                connection, run, state=state, outcome=outcome, exit_code=exit_code, package=package, left_at=left_at
            )
            if done and event is not None:
                events.append(connection, "quantplay", event[0], str(run), event[1])

    @patiently
    def runs_of_flow_run(self, flow_run: str) -> tuple[Run, ...]:
        """Runs that this run of a Prefect flow opened or went on with, newest first."""
        with self._begin() as connection:
            return runs.of_flow_run(connection, flow_run)

    @patiently
    def interrupted_runs(self, plan: str) -> tuple[Run, ...]:
        """Runs of this plan that are noted as running and whose process is gone, newest first."""
        with self._begin() as connection:
            return runs.interrupted(connection, plan)

    @patiently
    def get_run(self, prefix: str = "") -> Run | None:
        """The run whose id starts with `prefix`, the newest where several do; without a prefix the newest of all."""
        with self._begin() as connection:
            return next(iter(runs.find(connection, prefix=prefix, limit=1)), None)

    @patiently
    def list_runs(self, limit: int = 20) -> tuple[Run, ...]:
        """The newest runs, newest first."""
        with self._begin() as connection:
            return runs.find(connection, limit=limit)

    @patiently
    def passages(self) -> tuple[runs.Passage, ...]:
        """How far every run came, oldest first: for the funnel."""
        with self._begin() as connection:
            return runs.passages(connection)

    @patiently
    def next_attempt(self, *, plan: str, gate: str, model: str, items: str, artifact: str) -> int:
        """Number of the plan's look at the gate split, from 1; the same artifact keeps its number."""
        with self._begin() as connection:
            return runs.next_attempt(connection, plan=plan, gate=gate, model=model, items=items, artifact=artifact)

    @patiently
    def attempts_of(self, model: str, items: str) -> tuple[Attempt, ...]:
        """Every look at these items with this model, under whatever plan: a loosened gate shows here."""
        with self._begin() as connection:
            return runs.attempts_of(connection, model=model, items=items)
