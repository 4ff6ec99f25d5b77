"""What would be viable instead, where a run ends short: said in the report, in `quantplay show` and in the Prefect run."""

from __future__ import annotations

from functools import partial

from prefect import task
from prefect.artifacts import create_markdown_artifact

from quantplay.handoff.further_markdown import recommendations_markdown
from quantplay.plays.mixed_precision import solve_again
from quantplay.plays.mixing import budget_bytes
from quantplay.plays.recommend import Situation, recommendations, sizes_of
from quantplay.records import Recommendation
from tasks.options import PLAY
from tasks.recorded import recorded_artifact
from tasks.results import Trail
from tasks.workbench import RunRef, workbench


@task(name="recommend", **PLAY)
def recommend(run: RunRef, trail: Trail, outcome: str) -> tuple[Recommendation, ...]:
    """The ways on from here; empty where the run did not stop short."""
    if trail.decision is None or trail.artifact is None or trail.evaluation is None or trail.envelope is None:
        return ()
    store, plan = workbench().store, run.read()
    decision, evaluation = store.get_decision(trail.decision), store.get_evaluation(trail.evaluation)
    choice, mix = store.get_envelope(trail.envelope), store.get_mix(trail.mix) if trail.mix else None
    assert decision is not None
    assert evaluation is not None
    assert choice is not None
    short, _ = recorded_artifact(trail.artifact)
    found = recommendations(
        Situation(
            plan=plan, outcome=outcome, decision=decision, evaluation=evaluation, artifact=short,
            tried=tried(trail), sizes=sizes_of(plan, run.paths().model),
            budget_bytes=budget_bytes(plan, short, choice), mix=mix,
            training=store.get_training(trail.training) if trail.training else None,
            solve=partial(solve_again, mix) if mix is not None else None,
        )
    )  # fmt: skip
    found = (*passed_over(trail), *(one for one in found if one.kind not in impossible(trail)))
    if found:
        create_markdown_artifact(
            recommendations_markdown(found), key="recommendations", description="What would be viable instead"
        )
    return found


def impossible(trail: Trail) -> tuple[str, ...]:
    return tuple(play.replace("_", " ") for play in trail.not_possible)


def passed_over(trail: Trail) -> tuple[Recommendation, ...]:
    """Plays that would have followed and could not be done, with their reasons."""
    return tuple(
        Recommendation.model_validate(
            {
                "kind": play.replace("_", " "),
                "what": f"{play.replace('_', ' ').capitalize()} was not possible here.",
                "why": why,
            }
        )
        for play, why in trail.not_possible.items()
    )


def tried(trail: Trail) -> frozenset[str]:
    """Serving types that went through the gate as llama.cpp mixes them."""
    made = [recorded_artifact(artifact) for artifact, _, _ in trail.attempts]
    return frozenset(artifact.type for artifact, recipe in made if not recipe.tensor_types)
