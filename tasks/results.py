"""Everything a run left behind, read back from the product database."""

from __future__ import annotations

from pydantic import Field

from quantplay.handoff.contents import Attempt, RunResults, read_questions
from quantplay.plays import keys
from quantplay.plays.funnel import Stage, left_at
from quantplay.records import Digest, Recommendation, Record
from tasks.updates import update_of
from tasks.workbench import RunRef, workbench


class Trail(Record):
    """Keys of what a run has produced so far; grows play by play."""

    later = frozenset({"calibration", "sensitivity", "mix", "training", "not_possible"})

    calibration: Digest | None = None
    baseline: Digest | None = None
    envelope: Digest | None = None
    artifact: Digest | None = None
    evaluation: Digest | None = None
    decision: Digest | None = None
    attempts: tuple[tuple[Digest, Digest, Digest], ...] = ()  # artifact, evaluation, decision of every look at the gate
    sensitivity: Digest | None = None  # play 5
    mix: Digest | None = None
    training: Digest | None = None  # play 6
    not_possible: dict[str, str] = Field(default={})  # play 5 or 6 -> why it can't be done with this model and plan

    @property
    def left_at(self) -> Stage:
        """The play whose result ends a run that ends now."""
        return left_at(
            artifact=self.artifact is not None, mixed=self.mix is not None, trained=self.training is not None
        )

    def judged(self, artifact: Digest, evaluation: Digest, decision: Digest) -> Trail:
        """The trail after one more candidate went through the gate."""
        return self.model_copy(
            update={
                "artifact": artifact, "evaluation": evaluation, "decision": decision,
                "attempts": (*self.attempts, (artifact, evaluation, decision)),
            }
        )  # fmt: skip


def results_of(run: RunRef, trail: Trail, outcome: str | None, advice: tuple[Recommendation, ...] = ()) -> RunResults:
    """What the report and the package are made from."""
    store = workbench().store
    artifact, plan = store.get_artifact(trail.artifact) if trail.artifact else None, run.read()
    return RunResults(
        run=run.run,
        plan=plan,
        outcome=outcome,
        inputs=run.inputs,
        baseline=store.get_baseline(trail.baseline) if trail.baseline else None,
        envelope=store.get_envelope(trail.envelope) if trail.envelope else None,
        recipe=store.get_recipe(artifact.recipe) if artifact else None,
        artifact=artifact,
        evaluation=store.get_evaluation(trail.evaluation) if trail.evaluation else None,
        decision=store.get_decision(trail.decision) if trail.decision else None,
        attempts=tuple(attempt_of(*keys) for keys in trail.attempts),
        questions=read_questions(run.paths().gate),
        calibration=store.get_calibration_check(trail.calibration or keys.calibration_key(plan, run.inputs)),
        update=update_of(store, plan),
        sensitivity=store.get_sensitivity(trail.sensitivity) if trail.sensitivity else None,
        mix=store.get_mix(trail.mix) if trail.mix else None,
        training=store.get_training(trail.training) if trail.training else None,
        recommendations=advice,
    )


def attempt_of(artifact_key: Digest, evaluation_key: Digest, decision_key: Digest) -> Attempt:
    store = workbench().store
    artifact, evaluation = store.get_artifact(artifact_key), store.get_evaluation(evaluation_key)
    decision = store.get_decision(decision_key)
    assert artifact is not None
    assert evaluation is not None
    assert decision is not None
    return Attempt.of(artifact, evaluation, decision, store.get_recipe(artifact.recipe))


def seconds_of(run: RunRef) -> dict[str, float]:
    """Wall time of every play that this run did itself."""
    row = workbench().store.get_run(run.run)
    assert row is not None
    return {play.play: play.seconds for play in row.plays if not play.reused}
