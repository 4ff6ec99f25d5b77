"""One run with the records its plays left, read from the product database."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantplay.cli.render_jobs import jobs_body
from quantplay.errors import QuantplayError
from quantplay.plan import Plan
from quantplay.records import (
    Artifact,
    Baseline,
    CalibrationCheck,
    Decision,
    EnvelopeChoice,
    Evaluation,
    MixChoice,
    PackageRef,
    Recommendation,
    Record,
    Sensitivity,
    SignOff,
    Training,
    Update,
)
from quantplay.settings import settings
from quantplay.signoff import Standing, read_owners, sign_command, standing, verified
from quantplay.store.signoffs import OPENED, RESUMED

if TYPE_CHECKING:
    from quantplay.store.jobs import Job
    from quantplay.store.registry import Store
    from quantplay.store.requests import Waiting
    from quantplay.store.runs import Run
    from quantplay.store.signoffs import Awaiting

FINISHED = "run.finished"  # kind of event


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """What there is of a run; records in the order their plays ran."""

    run: Run
    plan: Plan | None
    baseline: Baseline | None
    envelope: EnvelopeChoice | None
    artifacts: tuple[Artifact, ...]
    evaluations: tuple[Evaluation, ...]
    decisions: tuple[Decision, ...]
    package: PackageRef | None
    calibration: CalibrationCheck | None = None
    jobs: tuple[Job, ...] = ()  # uses of devices, oldest first
    signoffs: tuple[SignOff, ...] = ()  # of this run, oldest first
    elsewhere: tuple[SignOff, ...] = ()  # about the same decision, under other runs
    awaiting: Awaiting | None = None
    stage: Standing | None = None  # how the stage stands that the run waits at
    revoked: str | None = None  # why the baseline of a run that waits was revoked
    waiting: Waiting | None = None  # since when it waits, and where the form is
    update: Update | None = None  # the run this one updates
    updated_by: tuple[str, ...] = ()  # runs that update this one, oldest first
    sensitivity: Sensitivity | None = None  # play 5
    mix: MixChoice | None = None
    training: Training | None = None  # play 6
    recommendations: tuple[Recommendation, ...] = ()  # where it stopped short
    goes_on: str | None = None  # the command that goes on with a run that was interrupted or cancelled

    @property
    def to_sign(self) -> tuple[str, ...]:
        """The command for each signature that is missing."""
        return tuple(sign_command(str(self.run.id), role) for role in self.stage.missing) if self.stage else ()

    def body(self) -> dict[str, Any]:
        """JSON-safe, without the single items."""
        run = self.run
        return {
            "run": str(run.id),
            "plan": run.plan,
            "name": self.plan.name if self.plan else None,
            "profile": run.profile,
            "state": run.state,
            "outcome": run.outcome,
            "exit_code": run.exit_code,
            "started_at": run.started_at.isoformat(),
            "finished_at": run.finished_at.isoformat() if run.finished_at else None,
            "prefect_flow_run_id": run.prefect_flow_run_id,
            "plays": [
                {"play": one.play, "key": one.key, "reused": one.reused, "seconds": one.seconds} for one in run.plays
            ],
            **jobs_body(self.jobs),
            "calibration": self.calibration.body() if self.calibration else None,
            "artifacts": [artifact.body() for artifact in self.artifacts],
            "decisions": [decision.body() for decision in self.decisions],
            "package": self.package.body() if self.package else None,
            "signoffs": [one.body() for one in self.signoffs],
            "signoffs_of_other_runs": [one.body() for one in self.elsewhere],
            "waits_at": self.awaiting.stage if self.awaiting else None,
            "to_sign": list(self.to_sign),
            "baseline_revoked": self.revoked,
            "waits": waits_body(self.waiting),
            "updates": self.update.body() if self.update else None,
            "updated_by": list(self.updated_by),
            "left_at": run.left_at,
            "mix": self.mix.body() if self.mix else None,
            "training": self.training.body() if self.training else None,
            "recommendations": [one.body() for one in self.recommendations],
            "goes_on": self.goes_on,
        }


def waits_body(waiting: Waiting | None) -> dict[str, Any] | None:
    """Where and since when a run waits; JSON-safe."""
    if waiting is None:
        return None
    asked = waiting.request
    return {
        "asked_at": waiting.asked_at.isoformat(),
        "reminders": len(waiting.reminded),
        "expired_at": waiting.expired_at.isoformat() if waiting.expired_at else None,
        "expires_at": asked.expires_at if asked else None,
        "flow_run": asked.flow_run if asked else None,
        "page": asked.page if asked else None,
    }


def records_of(store: Store, run: Run) -> RunRecords:
    """Everything `run` points to. The items of baseline and evaluations come along."""

    def found(play: str, get: Any) -> tuple[Any, ...]:
        keys = dict.fromkeys(one.key for one in run.plays if one.play == play)
        return tuple(record for key in keys if (record := get(key)) is not None)

    baselines = found("baseline", store.get_baseline)
    envelopes = found("envelope", store.get_envelope)
    decisions = found("gate", store.get_decision)
    signoffs, awaiting = store.signoffs_of(run.id), store.awaiting(run.id)
    about = store.signoffs_of_decision(decisions[-1].digest()) if decisions else ()
    return RunRecords(
        run=run,
        plan=store.get_plan(run.plan),
        calibration=next(iter(found("calibration", store.get_calibration_check)[-1:]), None),
        baseline=baselines[-1] if baselines else None,
        envelope=envelopes[-1] if envelopes else None,
        artifacts=found("ptq", store.get_artifact),
        evaluations=found("evaluate", store.get_evaluation),
        decisions=decisions,
        package=store.get_package(run.package) if run.package else None,
        jobs=store.list_jobs(run.id),
        signoffs=signoffs,
        elsewhere=tuple(one for one in about if one.run != str(run.id)),
        awaiting=awaiting,
        stage=stage_of(awaiting, signoffs),
        revoked=why_revoked(store, awaiting),
        waiting=store.waiting(run.id) if awaiting is not None else None,
        update=update_shown(store, run),
        updated_by=updaters(store, run),
        sensitivity=next(iter(found("sensitivity", store.get_sensitivity)[-1:]), None),
        mix=next(iter(found("mix", store.get_mix)[-1:]), None),
        training=next(iter(found("training", store.get_training)[-1:]), None),
        recommendations=recommended(store, run),
        goes_on=command_to_go_on(store, run),
    )


def recommended(store: Store, run: Run) -> tuple[Recommendation, ...]:
    """What the run's end recommended."""
    ended = store.events(kind=FINISHED, subject=str(run.id))
    bodies = ended[-1].body.get("recommendations", ()) if ended else ()
    return tuple(Recommendation.model_validate(body) for body in bodies)


def update_shown(store: Store, run: Run) -> Update | None:
    """What the run updates; None too where that run can't be read any more: showing this one must not fail with it."""
    from tasks.updates import update_of

    with contextlib.suppress(QuantplayError):
        return update_of(store, store.get_plan(run.plan))
    return None


def updaters(store: Store, run: Run) -> tuple[str, ...]:
    from tasks.updates import updated_by

    return updated_by(store, str(run.id))


def command_to_go_on(store: Store, run: Run) -> str | None:
    """What to type where a run was stopped before its end: a deployed one is retried in Prefect, a local one is run again."""
    if run.state not in ("interrupted", "cancelled"):
        return None
    opened = [event.body for event in store.events(subject=str(run.id)) if event.kind in (OPENED, RESUMED)]
    if not opened:
        return None
    last = opened[-1]
    if last.get("deployment") is not None and run.prefect_flow_run_id is not None:
        return f"prefect flow-run retry {run.prefect_flow_run_id}"
    return f"quantplay run {last['plan_path']}" if "plan_path" in last else None


def why_revoked(store: Store, awaiting: Awaiting | None) -> str | None:
    """Why the baseline of a run that waits was revoked; None where it was not."""
    baseline = awaiting.trail.get("baseline") if awaiting is not None else None
    found = store.revoked_baseline(baseline) if baseline is not None else None
    return None if found is None else found.reason or "no reason given"


def stage_of(awaiting: Awaiting | None, signoffs: tuple[SignOff, ...]) -> Standing | None:
    """How the stage stands, every signature verified again; as recorded where no owners file can be read here."""
    if awaiting is None:
        return None
    good, void = signoffs, ()
    with contextlib.suppress(QuantplayError):
        good, void = verified(signoffs, read_owners(settings().owners)) if signoffs else ((), ())
    return standing(
        awaiting.stage, good, gate=awaiting.gate, decision=awaiting.decision, gate_changes=awaiting.gate_changes,
        manifest=awaiting.manifest, business_case=awaiting.business_case, void=void,
    )  # fmt: skip


def shown_records(records: RunRecords) -> list[Record]:
    """The records worth a table, in the order of the plays."""
    alone = [record for record in (records.calibration, records.baseline, records.envelope) if record is not None]
    further = (records.sensitivity, records.mix, records.training)
    return [*alone, *records.artifacts, *(record for record in further if record is not None), *records.decisions]
