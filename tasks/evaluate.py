"""Play 4: the candidate through the identical harness, and the frozen gate."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.calibration import waivers_of as calibration_waivers
from quantplay.envelope.jobs import evaluation_bytes, require_memory
from quantplay.envelope.shape import read_shape
from quantplay.gate import decide
from quantplay.gate.decide import check_attempt
from quantplay.gate.erosion import Look, earlier_looks, gate_changes
from quantplay.handoff.markdown import gate_markdown
from quantplay.plays import keys
from quantplay.plays.evaluate import evaluate_candidate
from quantplay.plays.rot import require_sound
from quantplay.plays.target import target_waivers
from quantplay.records import Artifact, Baseline, Decision, Digest, Evaluation, StandardsCheck, Waiver
from quantplay.store.signoffs import OPENED
from tasks.artifacts import local_copy
from tasks.device import on_device
from tasks.options import PLAY
from tasks.progress import reporter
from tasks.recorded import recorded
from tasks.reference import full_precision
from tasks.workbench import RunRef, once, workbench


@task(name="evaluate", **PLAY)
def evaluate(run: RunRef, baseline_key: Digest, artifact_key: Digest) -> Digest:
    """Measure the candidate (or look it up); returns the key of the Evaluation."""
    bench, plan = workbench(), run.read()
    baseline = recorded("baseline", baseline_key, bench.store.get_baseline)
    artifact = recorded("artifact", artifact_key, bench.store.get_artifact)
    check_attempt(plan.gate, look(run, artifact))  # before anything is measured that may not be looked at
    key = keys.evaluation_key(plan, run.inputs, baseline_key, artifact, bench.fingerprint)

    def make() -> Evaluation:
        require_memory("evaluate", evaluation_bytes(read_shape(run.paths().model), plan.envelope, artifact.type))
        return evaluate_candidate(
            plan, run.pinned(), baseline=baseline, baseline_key=baseline_key, artifact=artifact,
            candidate=local_copy(artifact), reference=full_precision(run),
            harness=keys.harness_of(plan, run.inputs),
            fingerprint=bench.fingerprint, threads=bench.threads, on_progress=reporter("evaluate"),
        )  # fmt: skip

    once(run, "evaluate", key, find=bench.store.get_evaluation, make=on_device(run, "evaluate", make))
    return key


@task(name="gate", **PLAY)
def decide_gate(run: RunRef, baseline_key: Digest, artifact_key: Digest, evaluation_key: Digest) -> Digest:
    """Apply the frozen gate; returns the key of the Decision. Every look at the gate split is a counted attempt."""
    bench, plan = workbench(), run.read()
    store = bench.store
    baseline, evaluation = store.get_baseline(baseline_key), store.get_evaluation(evaluation_key)
    artifact = store.get_artifact(artifact_key)
    assert baseline is not None
    assert evaluation is not None
    assert artifact is not None
    attempt = look(run, artifact)
    changes, waivers = gate_changes(plan, looks_before(run)), waivers_of(run, baseline)
    standards = standards_of(run)
    key = keys.decision_key(plan, evaluation_key, attempt, changes, waivers, standards)

    def make() -> Decision:
        recipe = store.get_recipe(artifact.recipe)
        assert recipe is not None
        require_sound(
            inputs=run.inputs, harness=keys.harness_of(plan, run.inputs), baseline=baseline, recipe=recipe, artifact=artifact,
            artifact_file=local_copy(artifact), baseline_key=baseline_key, evaluation=evaluation,
        )  # fmt: skip
        titles = {name: info.title for name, info in plan.evaluation.slices.items()}
        return decide(
            plan.gate, baseline, evaluation, envelope=plan.envelope, artifact=artifact, attempt=attempt, titles=titles,
            changes=changes, waivers=waivers, standards=standards,
        )  # fmt: skip

    decision = once(run, "gate", key, find=store.get_decision, make=make)
    create_markdown_artifact(gate_markdown(decision, plan), key="gate", description=decision.reasons[0])
    return key


def look(run: RunRef, artifact: Artifact) -> int:
    """Count the plan's look at the gate split by this artifact; its number, the same each time."""
    weights, items = keys.looked_at(run.inputs)
    return workbench().store.next_attempt(
        plan=run.plan, gate=run.read().gate_digest(), model=weights, items=items, artifact=artifact.sha256
    )


def looks_before(run: RunRef) -> tuple[Look, ...]:
    """Looks of other plans at the same items with the same model, before this plan's first one."""
    store = workbench().store
    looks = store.attempts_of(*keys.looked_at(run.inputs))
    before = earlier_looks([(look.plan, look.at) for look in looks], run.plan)
    plans = {digest: store.get_plan(digest) for digest, _ in before}
    return tuple(Look(plan=plan, at=at) for digest, at in before if (plan := plans[digest]) is not None)


def waivers_of(run: RunRef, baseline: Baseline) -> tuple[Waiver, ...]:
    """Defects of this run that its plan accepts with a reason."""
    plan = run.read()
    check = workbench().store.get_calibration_check(keys.calibration_key(plan, run.inputs))
    assert check is not None
    return (*calibration_waivers(check), *target_waivers(plan, baseline.fingerprint.hardware))


def standards_of(run: RunRef) -> StandardsCheck | None:
    """What the plan was compared with when the run was opened: a standard raised since then is not applied to it."""
    for event in workbench().store.events(kind=OPENED, subject=run.run):
        if event.body.get("standards") is not None:
            return StandardsCheck.model_validate(event.body["standards"])
    return None
