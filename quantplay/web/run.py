"""A run as its page shows it: what was decided, what it waits for, who has signed and how each was identified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantplay.errors import InputError, QuantplayError
from quantplay.gate.sentences import remarks
from quantplay.handoff.report import GateRow
from quantplay.handoff.signing import stands_now
from quantplay.outcomes import OUTCOMES
from quantplay.plan import Plan
from quantplay.records import Decision, Role, SignOff
from quantplay.signoff import REQUIRED, read_owners
from quantplay.store.registry import Store
from quantplay.store.requests import Waiting
from quantplay.store.runs import Run
from quantplay.store.signoffs import Awaiting
from quantplay.web.package import rows_of

STAGES = {
    "gate": "the decision of the gate",
    "training": "the business case of training",
    "lock": "the finished package",
}


@dataclass(frozen=True, kw_only=True)
class Due:
    """What a run waits for."""

    waiting: Waiting
    plan: Plan | None
    missing: tuple[Role, ...]
    unknown: str  # why it can't be said who has signed; empty where it can

    @property
    def waits(self) -> Awaiting:
        return self.waiting.waits

    @property
    def what(self) -> str:
        return STAGES[self.waits.stage]


@dataclass(frozen=True, kw_only=True)
class OneRun:
    """All that is shown of one run."""

    run: Run
    plan: Plan | None
    outcome: str
    decision: Decision | None
    gate: tuple[GateRow, ...]
    remarks: tuple[str, ...]
    signoffs: tuple[SignOff, ...]
    due: Due | None


def due_of(store: Store, waiting: Waiting, owners: Path) -> Due:
    """Which signatures are missing, by the owners file of this machine."""
    waits, run = waiting.waits, store.get_run(waiting.waits.run)
    missing, unknown = REQUIRED[waits.stage], ""
    try:
        missing = stands_now(store, waits, read_owners(owners)).missing
    except QuantplayError as error:
        unknown = str(error).splitlines()[0]
    plan = store.get_plan(run.plan) if run is not None else None
    return Due(waiting=waiting, plan=plan, missing=missing, unknown=unknown)


def all_due(store: Store, owners: Path) -> tuple[Due, ...]:
    """Longest waiting first."""
    return tuple(due_of(store, one, owners) for one in store.all_waiting())


def one_run(store: Store, name: str, owners: Path) -> OneRun:
    """Raises InputError where there is no such run."""
    run = store.get_run(name) if name else None
    if run is None:
        raise InputError("there is no such run", value=name)
    plan, waiting = store.get_plan(run.plan), store.waiting(run.id)
    decision = decision_of(store, run, waiting)
    return OneRun(
        run=run,
        plan=plan,
        outcome=OUTCOMES[run.outcome].title if run.outcome in OUTCOMES else run.state,
        decision=decision,
        gate=rows_of(plan, decision),
        remarks=remarks(decision) if decision is not None else (),
        signoffs=store.signoffs_of(run.id),
        due=due_of(store, waiting, owners) if waiting is not None else None,
    )


def decision_of(store: Store, run: Run, waiting: Waiting | None) -> Decision | None:
    """The one that waits to be signed, or the run's last one."""
    keys = [play.key for play in run.plays if play.play == "gate"]
    found = [one for key in keys if (one := store.get_decision(key)) is not None]
    if waiting is not None:
        found = [one for one in found if one.digest() == waiting.waits.decision] or found
    return found[-1] if found else None
