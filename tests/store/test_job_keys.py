"""A job that was started by hand with a wrong key says so, instead of failing somewhere inside."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import store_samples as samples
from test_job_checks import inputs

from quantplay.errors import InputError
from quantplay.store.registry import Store
from tasks import evaluate, mixed_precision, qat, recorded, workbench
from tasks.workbench import RunRef

UNKNOWN = samples.digest("nothing is recorded under this key")


@pytest.fixture
def run(store: Store, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    bench = SimpleNamespace(store=store, threads=1)
    for module in (evaluate, mixed_precision, qat, recorded, workbench):
        monkeypatch.setattr(module, "workbench", lambda: bench)
    plan = samples.plan(name="pilot")
    store.put_plan(plan)
    run = store.start_run(plan=plan.digest(), profile="internal")
    return RunRef.model_construct(run=str(run), plan_path="/p.yaml", plan=plan.digest(), inputs=inputs(), sent=True)


@pytest.fixture
def elsewhere(store: Store) -> str:
    """Key of an artifact of another model."""
    recipe = samples.recipe()
    artifact = samples.artifact().model_copy(update={"recipe": recipe.digest()})
    store.put_recipe(recipe.digest(), recipe)
    store.put_artifact(UNKNOWN[::-1], artifact)
    return UNKNOWN[::-1]


JOBS: dict[str, Callable[[RunRef], Any]] = {
    "evaluate": lambda run: evaluate.evaluate.fn(run, UNKNOWN, UNKNOWN),
    "scan": lambda run: mixed_precision.scan_part.fn(run, UNKNOWN, 0, 1),
    "sensitivity": lambda run: mixed_precision.sensitivity.fn(run, UNKNOWN),
    "mix": lambda run: mixed_precision.mix.fn(run, UNKNOWN, UNKNOWN, UNKNOWN),
    "make a mix": lambda run: mixed_precision.artifact_of_mix.fn(run, UNKNOWN),
    "train": lambda run: qat.train.fn(run, UNKNOWN, UNKNOWN, UNKNOWN),
    "make trained weights": lambda run: qat.artifact_of_training.fn(run, UNKNOWN, UNKNOWN),
}


@pytest.mark.parametrize("job", JOBS)
def test_an_unknown_key_is_named(job: str, run: RunRef) -> None:
    with pytest.raises(InputError, match="the product database has no such") as caught:
        JOBS[job](run)
    assert UNKNOWN in str(caught.value)
    assert "quantplay run" in str(caught.value)


def test_an_artifact_of_another_model_is_refused(run: RunRef, elsewhere: str) -> None:
    for job in (mixed_precision.scan_part.fn, lambda run, key, *_: mixed_precision.mix.fn(run, UNKNOWN, key, UNKNOWN)):
        with pytest.raises(InputError, match="this artifact is of another model than the run's"):
            job(run, elsewhere, 0, 1)


def test_a_training_of_another_model_is_refused(run: RunRef, store: Store, elsewhere: str) -> None:
    training = samples.training()
    store.put_training(training.digest(), training)
    with pytest.raises(InputError, match="this training is of another model"):
        qat.artifact_of_training.fn(run, training.digest(), elsewhere)
