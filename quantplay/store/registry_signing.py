"""The Store: signatures, and what runs wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from quantplay.records import (
    SignOff,
)
from quantplay.store import (
    requests,
    signoffs,
)
from quantplay.store.database import Database
from quantplay.store.patience import patiently
from quantplay.store.requests import Request, Waiting
from quantplay.store.signoffs import Awaiting, Check


class SigningRegistry(Database):
    """Sign-offs and requests for them."""

    @patiently
    def put_signoff(self, signoff: SignOff, check: Check | None = None) -> None:
        """Record a signature and its event in one transaction, unless `check` finds reasons to refuse it (InputError)."""
        with self._begin() as connection:
            signoffs.put(connection, signoff, check)

    @patiently
    def signoffs_of(self, run: UUID | str) -> tuple[SignOff, ...]:
        """Every signature of a run, oldest first."""
        with self._begin() as connection:
            return signoffs.of_run(connection, str(run))

    @patiently
    def signoffs_of_decision(self, decision: str) -> tuple[SignOff, ...]:
        """Every signature about this decision record, under whatever run, oldest first."""
        with self._begin() as connection:
            return signoffs.of_decision(connection, decision)

    @patiently
    def awaiting(self, run: UUID) -> Awaiting | None:
        """What a run waits for a signature with; None where it waits for nothing."""
        with self._begin() as connection:
            return signoffs.awaiting(connection, run)

    @patiently
    def awaiting_of_plan(self, plan: str) -> tuple[Awaiting, ...]:
        """Runs of this plan that wait for a signature, newest first."""
        with self._begin() as connection:
            return signoffs.awaiting_of_plan(connection, plan)

    @patiently
    def requests_of(self, run: UUID | str) -> tuple[Request, ...]:
        """Every form that was shown for this run, oldest first."""
        with self._begin() as connection:
            return requests.of_run(connection, str(run))

    @patiently
    def answered_requests(self, run: UUID | str) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """(flow run, key) of every form whose input was handled -> what became of it."""
        with self._begin() as connection:
            return requests.answered(connection, str(run))

    @patiently
    def run_of_flow_run(self, flow_run: str) -> str | None:
        """The run that this flow run of Prefect opened or took up last; None for a flow run that has not yet."""
        with self._begin() as connection:
            return requests.run_of_flow_run(connection, flow_run)

    @patiently
    def waiting(self, run: UUID) -> Waiting | None:
        """Since when a run waits for signatures, and what was done about it; None where it waits for nothing."""
        with self._begin() as connection:
            return requests.waiting(connection, run)

    @patiently
    def all_waiting(self) -> tuple[Waiting, ...]:
        """Every run that ended with a signature missing, longest waiting first."""
        with self._begin() as connection:
            return requests.all_waiting(connection)

    @patiently
    def newer_gates(self, run: UUID) -> tuple[tuple[str, str], ...]:
        """(run, gate) of later runs of the same plan name and model that froze another gate."""
        with self._begin() as connection:
            return signoffs.newer_gates(connection, run)
