"""The whole playbook. Only this flow branches; plays are tasks, and a play already done for the same inputs is looked up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import dispatch
from flows.cancelling import cancel_jobs
from flows.form_fields import PlanAddress, RunToGoOn
from flows.signing import can_suspend, show_what_is_missing, wait_for_signatures
from quantplay.envelope.wrong_move import RULE as WRONG_MOVE
from quantplay.errors import InputError, IntegrityError
from quantplay.gate.ahead import Ahead, play_ahead
from quantplay.handoff.asking import training_said
from quantplay.outcomes import OUTCOMES
from quantplay.records import Candidate, Decision, Digest
from tasks.asking import handle_answers
from tasks.calibration import calibration
from tasks.evaluate import decide_gate
from tasks.lock import lock
from tasks.recommend import recommend
from tasks.recorded import recorded_artifact
from tasks.report import report
from tasks.results import Trail
from tasks.runs import close_run, fail_run, note_cancelled, open_run
from tasks.signoffs import signatures, trail_so_far, turn
from tasks.workbench import RunRef, workbench


def run_name() -> str:
    """The plan file's name: what a person looks for in the list of runs."""
    return Path(flow_run.parameters["plan"]).stem


@flow(
    name="quantize",
    description="Take one language model from full precision to a locked, quantized hand-off package.",
    flow_run_name=run_name,
    persist_result=False,
    on_cancellation=[cancel_jobs, note_cancelled],
)
def quantize(plan: PlanAddress, run: RunToGoOn = "") -> State[str]:
    """Run every play that `plan` (path or address of a plan.yaml) needs, up to the hand-off package or the verdict that ends the run.

    A run of this plan that waits for a signature goes on where it stopped; `run`: the id of that very run. The state's name is
    the outcome; its data is the id of the run in the product database.
    """
    return playbook(plan, run or None)


def playbook(plan: str, run: str | None = None) -> State[str]:
    """The body of every flow that runs the whole playbook; a flow calls it by itself, never from a subflow.

    Where a signature is missing, a deployed run suspends and starts again from here; a local one ends, and is run again.
    """
    ref = open_run(plan, run)
    handle_answers(ref)
    while True:
        with turn(ref) as ended:
            if ended is not None:
                return Completed(name=OUTCOMES[ended].state_name, message=f"{ended}, by another process", data=ref.run)
            try:
                outcome, trail, package = play(ref)
                advice = recommend(ref, trail, outcome)
                page = report(ref, trail, outcome, advice)
                name = close_run(ref, outcome, package, trail, advice)
            except BaseException as error:
                fail_run(ref, error)
                raise
        if outcome != "awaiting_signature":
            break
        if not can_suspend():
            show_what_is_missing(ref)
            break
        wait_for_signatures(ref)  # comes back only where every signature is there by now
    note = training_said(workbench().store.signoffs_of(ref.id)) if outcome in ("broken", "close") else None
    return Completed(name=name, message=f"{outcome}; {f'{note}; ' if note else ''}report: {page}", data=ref.run)


def play(run: RunRef) -> tuple[str, Trail, str | None]:
    """Measure and decide, then signatures and lock. Returns the outcome's name, what was produced, and the key of the package."""
    trail = trail_so_far(run)
    if trail is None:
        outcome, trail = first_candidates(run)
    else:
        assert trail.decision is not None
        outcome = outcome_of(run, trail.decision)
    while (ahead := play_after(run, trail)) is not None:
        if ahead == "training" and (ending := signatures(run, trail, "training")) is not None:
            return ending, trail, None
        heavy = dispatch.prepared(run)
        try:
            trail, artifact = FURTHER[ahead](heavy, trail)
        except InputError as error:
            if isinstance(error, IntegrityError):
                raise
            trail = not_possible(run, trail, ahead, error)  # the verdict stands: it is no failure of the run
            continue
        trail = judged(run, heavy, trail, artifact)
        assert trail.decision is not None
        outcome = outcome_of(run, trail.decision)
    if outcome != "locked":
        return outcome, trail, None
    if ending := signatures(run, trail, "gate"):
        return ending, trail, None
    package = lock(run, trail)
    return signatures(run, trail, "lock", package) or "locked", trail, package


def first_candidates(run: RunRef) -> tuple[str, Trail]:
    """Plays 1 to 4. Returns the outcome's name, `locked` where nothing but people stands before the lock, and what was produced."""
    checked, heavy = calibration(run), dispatch.prepared(run)
    baseline_key = dispatch.baseline(heavy)
    trail = Trail(calibration=checked, baseline=baseline_key, envelope=dispatch.envelope(heavy, baseline_key))
    if wrong_move(run, trail):
        return "declined", trail
    outcome = "envelope_missed"
    for candidate in candidates(run, trail):
        trail = judged(run, heavy, trail, dispatch.ptq(heavy, baseline_key, candidate))
        assert trail.decision is not None
        outcome = outcome_of(run, trail.decision)
        if outcome != "envelope_missed":
            break
    return outcome, trail


def judged(run: RunRef, heavy: RunRef, trail: Trail, artifact: Digest) -> Trail:
    """Play 4 for one candidate, whichever play made it: the same harness, the same frozen gate, a counted look."""
    assert trail.baseline is not None
    evaluation = dispatch.evaluate(heavy, trail.baseline, artifact)
    return trail.judged(artifact, evaluation, decide_gate(run, trail.baseline, artifact, evaluation))


def play_after(run: RunRef, trail: Trail) -> Ahead | None:
    """The play that the last decision leads to; None where it ends the run, in the lock or elsewhere."""
    if trail.decision is None:
        return None
    decision = workbench().store.get_decision(trail.decision)
    assert decision is not None
    return play_ahead(
        run.read(), decision, kind=candidate_type(trail),
        mixed=trail.mix is not None or "mixed_precision" in trail.not_possible,
        trained=trail.training is not None or "training" in trail.not_possible,
    )  # fmt: skip


def candidate_type(trail: Trail) -> str:
    """Serving type of the artifact that was judged last."""
    assert trail.artifact is not None
    return recorded_artifact(trail.artifact)[0].type


def mixed(heavy: RunRef, trail: Trail) -> tuple[Trail, Digest]:
    """Play 5: scan, choose and make. Raises InputError where the model or the budget leaves no mix to try."""
    baseline, short = trail.baseline, trail.artifact
    assert baseline is not None
    assert short is not None
    assert trail.envelope is not None
    scan = dispatch.sensitivity(heavy, baseline, short)
    choice = dispatch.mix(heavy, baseline, sensitivity=scan, short=short, envelope=trail.envelope)
    made = dispatch.artifact_of_mix(heavy, baseline, choice)
    if made == short:
        raise InputError(
            "no mix within the budget diverges less than the artifact that came short",
            fix="allow it more bytes: `growth_percent` or `max_artifact_mib` under `mixed_precision`",
        )  # fmt: skip
    return trail.model_copy(update={"sensitivity": scan, "mix": choice}), made


def trained(heavy: RunRef, trail: Trail) -> tuple[Trail, Digest]:
    """Play 6: train from the artifact that came short, and round once. Raises InputError where training wins nothing."""
    baseline, short = trail.baseline, trail.artifact
    assert baseline is not None
    assert short is not None
    assert trail.evaluation is not None
    assert trail.decision is not None
    training = dispatch.train(heavy, short, evaluation=trail.evaluation, decision=trail.decision)
    found = workbench().store.get_training(training)
    assert found is not None
    if found.chosen_step == 0:  # a look at the gate split would be wasted on it
        raise InputError(
            "training did not bring the divergence on the dev split down", value=f"{found.steps_done} steps",
            fix="another `learning_rate`, or more and other texts in `training.file`",
        )  # fmt: skip
    trail = trail.model_copy(update={"training": training})
    return trail, dispatch.artifact_of_training(heavy, baseline, training=training, short=short)


FURTHER: dict[Ahead, Callable[[RunRef, Trail], tuple[Trail, Digest]]] = {"mixed_precision": mixed, "training": trained}


def not_possible(run: RunRef, trail: Trail, play: Ahead, error: InputError) -> Trail:
    """Note why a further play can't be done here; the run goes on without it."""
    why = " ".join(str(error).split())
    workbench().store.append_event("quantplay", "play.not_possible", run.run, {"play": play, "why": why})
    return trail.model_copy(update={"not_possible": {**trail.not_possible, play: why}})


def wrong_move(run: RunRef, trail: Trail) -> bool:
    """Whether play 2 answered that quantizing is the wrong move, and the plan gives no reason for doing it all the same."""
    assert trail.envelope is not None
    plan, choice = run.read(), workbench().store.get_envelope(trail.envelope)
    assert choice is not None
    accepted = plan.profile == "explore" or any(one.rule == WRONG_MOVE for one in plan.deviations)
    return bool(choice.wrong_moves) and not accepted


def candidates(run: RunRef, trail: Trail) -> tuple[Candidate, ...]:
    """What play 2 found to fit, best first, at most as many as the plan allows looks at the gate split."""
    assert trail.envelope is not None
    choice = workbench().store.get_envelope(trail.envelope)
    assert choice is not None
    return tuple(candidate for candidate in choice.candidates if candidate.fits)[: run.read().gate.attempts]


def outcome_of(run: RunRef, decision_key: str) -> str:
    """Where the decision leads: the lock, the next candidate, or an ending with the next play named in the report."""
    decision: Decision | None = workbench().store.get_decision(decision_key)
    assert decision is not None
    if decision.verdict != "pass":
        return decision.verdict
    if not decision.envelope_met:
        return "envelope_missed"
    return "explored" if run.read().profile == "explore" else "locked"
