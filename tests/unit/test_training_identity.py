"""What makes two trainings the same one, and that plans written before a setting existed keep their digest."""

from __future__ import annotations

import pytest
from factories import digest, made_artifact, made_inputs, made_manifest, made_recipe

from quantplay.digest import digest_of
from quantplay.plan import Training
from quantplay.plays import keys, qat
from quantplay.plays.qat import grid_recipe, placed
from quantplay.quantizers.recipe import EACH_NAMED, HIGHER_PRECISION, MIXED
from quantplay.records import TrainingSettings

SETTINGS = TrainingSettings(steps=4, learning_rate=1e-3, device="cpu", precision="float32")


def key(settings: TrainingSettings) -> str:
    inputs = made_inputs().model_copy(update={"training": made_manifest("training", **{"train.jsonl": 9})})
    recipe = made_recipe(inputs, "Q2_K")
    return keys.training_key(inputs, made_artifact(recipe, digest("file"), 9), recipe, settings)


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"precision": "bfloat16"}, {"threads": 2}, {"steps": 5}])
def test_a_training_elsewhere_is_another_one(other: dict[str, object]) -> None:
    assert key(SETTINGS) == key(SETTINGS.model_copy())
    assert key(SETTINGS) != key(SETTINGS.model_copy(update=other))


def test_without_an_accelerator_nothing_has_to_be_started_to_know_where_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(qat.process, "run", None)
    found = placed(SETTINGS.model_copy(update={"device": None, "precision": None}), accelerators=())
    assert found.device == "cpu"
    assert found.precision in ("float32", "bfloat16")


@pytest.mark.parametrize("open_", ["device", "precision"])
def test_a_training_has_no_key_before_it_is_known_where_it_runs(open_: str) -> None:
    with pytest.raises(AssertionError):
        key(SETTINGS.model_copy(update={open_: None}))


def test_a_plan_from_before_parts_of_a_batch_keeps_its_digest() -> None:
    body = {
        "file": "training.jsonl", "steps": 600, "learning_rate": 0.0001, "rows": 24, "row_tokens": 256, "checkpoint_every": 25,
        "patience": 6, "seed": 0,
    }  # fmt: skip
    assert Training.model_validate(body).digest() == digest_of(body)
    assert Training.model_validate(body | {"micro_rows": 4}).digest() != digest_of(body)


def test_the_recipe_of_named_types_does_not_claim_the_formats_own_mix() -> None:
    recipe = made_recipe(made_inputs(), "Q2_K").model_copy(update={"higher_precision": (*HIGHER_PRECISION, *MIXED)})
    words = grid_recipe(recipe, made_artifact(recipe, digest("file"), 9)).higher_precision
    assert words == (*HIGHER_PRECISION, EACH_NAMED)
